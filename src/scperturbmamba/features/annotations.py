"""Annotated terms, such as those of the Gene Ontology: read them, and give every gene its place among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from scperturbmamba.features.names import resolve_genes
from scperturbmamba.features.tables import holds_words, read_table, safe_columns, with_known

_GENES, _SEPARATOR = "genes", "|"
_DOMAINS = ("go_domain", "domain", "namespace", "aspect")


def is_annotations(source: pd.DataFrame | str | Path) -> bool:
    """Tell whether a table holds terms, a row each, with a column ``genes`` of names joined by ``|``."""
    table = source if isinstance(source, pd.DataFrame) else read_table(source)
    return _GENES in table and holds_words(table[_GENES])


def annotation_table(
    genes: Sequence[str],
    source: pd.DataFrame | str | Path,
    *,
    width: int = 100,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Return genes × coordinates among the terms of each domain, ``width`` a domain, and ``known``.

    A rare term counts more than a common one, by the logarithm of its rarity. The coordinates are the leading singular
    vectors over all genes that the file names, so that they do not depend on which genes are asked for; the row of a
    gene has length 1 in each domain in which it is annotated. Columns are ``<domain>1``, ``<domain>2`` and so on.

    Raises
    ------
    ValueError
        No term has a gene.
    """
    table = source if isinstance(source, pd.DataFrame) else read_table(source)
    domain = next((table[name].astype(str) for name in _DOMAINS if name in table), pd.Series("term", table.index))
    members = table[_GENES].fillna("").astype(str).str.split(_SEPARATOR)
    members = members.map(lambda some: [name.strip() for name in some if name.strip()])
    names = sorted({name for some in members for name in some})
    if not names:
        msg = f"expected terms with genes, joined by '|', in the column 'genes'; found {len(table)} rows without one."
        raise ValueError(msg)
    place = {name: row for row, name in enumerate(names)}
    blocks, columns = [], []
    for one in sorted(domain.unique()):
        block = _coordinates(_belonging(list(members[domain == one]), place), width)
        blocks.append(block)
        columns += safe_columns([f"{one}{number + 1}" for number in range(block.shape[1])])
    resolved, _ = resolve_genes(genes, names, aliases=aliases)
    rows = np.array([place.get(name, -1) for name in resolved], np.int64)
    return with_known(genes, np.hstack(blocks).astype(np.float32), columns, rows)


def _belonging(members: Sequence[Sequence[str]], place: Mapping[str, int]) -> sp.csr_matrix:
    """Return genes × terms, the logarithm of a term's rarity where a gene belongs, rows of length 1."""
    pairs = {(place[name], column) for column, some in enumerate(members) for name in some}
    rows, columns = (np.array(one, np.int64) for one in zip(*sorted(pairs))) if pairs else (np.zeros(0, np.int64),) * 2
    matrix = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(place), max(1, len(members))))
    rarity = np.log((1 + len(place)) / (1 + np.asarray(matrix.sum(0)).ravel())) + 1
    matrix = matrix @ sp.diags(rarity)
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(1)).ravel())
    return (sp.diags(1 / np.where(length > 0, length, 1)) @ matrix).tocsr()


def _coordinates(matrix: sp.csr_matrix, width: int) -> NDArray[np.float64]:
    if matrix.shape[1] <= width:
        return np.asarray(matrix.toarray(), np.float64)
    found = TruncatedSVD(min(width, *matrix.shape), n_iter=4, random_state=0).fit_transform(matrix)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(length > 1e-9, length, 1), np.float64)
