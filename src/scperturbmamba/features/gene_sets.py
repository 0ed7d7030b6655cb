"""Gene sets: read them, and say which genes belong to which."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scperturbmamba.features.names import resolve_genes
from scperturbmamba.features.tables import safe_columns, with_known

GeneSets = Mapping[str, Sequence[str]]


def read_gene_sets(source: GeneSets | str | Path) -> dict[str, list[str]]:
    """Return set name → genes, from a mapping or a GMT file (``.gz`` too).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    TypeError
        The genes of a set are no list.
    ValueError
        The file is no GMT, or there is no set with a gene.
    """
    sets = source if isinstance(source, Mapping) else read_gmt(source)
    tidy: dict[str, list[str]] = {}
    for name, genes in sets.items():
        if isinstance(genes, str) or not hasattr(genes, "__iter__"):
            msg = f"the genes of set {name!r} must be a list of names; found {type(genes).__name__}."
            raise TypeError(msg)
        tidy[str(name)] = [str(gene) for gene in genes]
    if not any(tidy.values()):
        msg = "expected gene sets, each with its genes; found none."
        raise ValueError(msg)
    return tidy


def read_gmt(path: str | Path) -> dict[str, list[str]]:
    """Read a GMT file: in each line a set's name, a description, then its genes, tab-separated."""
    opened = gzip.open if str(path).endswith(".gz") else open
    sets: dict[str, list[str]] = {}
    with opened(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.rstrip("\r\n").split("\t")
            if not line.strip():
                continue
            if len(fields) < 2:
                msg = f"line {number} of {path} must hold a name, a description and genes, tab-separated, as in a GMT."
                raise ValueError(msg)
            sets[fields[0]] = [gene.strip() for gene in fields[2:] if gene.strip()]
    return sets


def membership(
    genes: Sequence[str], sets: Mapping[str, Sequence[str]], *, aliases: Mapping[str, Sequence[str]] | None = None
) -> pd.DataFrame:
    """Return genes × sets, 1 where a gene belongs, and ``known``: 1 where it is in any set.

    Examples
    --------
    >>> from scperturbmamba.features.gene_sets import membership
    >>> membership(["TP53", "MYC"], {"P53": ["TP53", "MDM2"]})["P53"].tolist()
    [1.0, 0.0]
    """
    listed = sorted({gene for members in sets.values() for gene in members})
    place = {gene: row for row, gene in enumerate(listed)}
    values = np.zeros((len(listed), len(sets)), dtype=np.float32)
    for column, members in enumerate(sets.values()):
        values[[place[gene] for gene in members], column] = 1
    resolved, _ = resolve_genes(genes, listed, aliases=aliases)
    rows = np.array([place.get(name, -1) for name in resolved], dtype=np.int64)
    return with_known(genes, values, safe_columns(list(sets)), rows)
