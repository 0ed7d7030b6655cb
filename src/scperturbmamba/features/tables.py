"""Any table of numbers per gene or per drug of the user's, looked up by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scperturbmamba._checks import check_finite
from scperturbmamba.features.names import resolve_genes

KNOWN = "known"  # the last column of a table in which a gene may be missing: 1 or 0


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or TSV (``.gz`` too); a first column without a name becomes the index.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is neither.
    """
    suffixes = Path(path).name.removesuffix(".gz").rpartition(".")[2].lower()
    if suffixes not in ("csv", "tsv", "txt", "tab"):
        msg = f"{path} must be a .csv, .tsv, .txt or .tab file (.gz too); rename it, or read it and pass the table."
        raise ValueError(msg)
    table = pd.read_csv(path, sep="," if suffixes == "csv" else "\t", low_memory=False)
    first = str(table.columns[0])
    return table.set_index(table.columns[0]).rename_axis(None) if first.startswith("Unnamed") else table


def numeric_table(
    genes: Sequence[str], source: pd.DataFrame | str | Path, *, aliases: Mapping[str, Sequence[str]] | None = None
) -> pd.DataFrame:
    """Return genes × the numeric columns of a table (float32) and ``known``; a gene that it lacks has a zero row.

    Parameters
    ----------
    genes
        Names to look up.
    source
        A table, or the path of a CSV or TSV, with gene names in its index or its first column of words.
    aliases
        Other names of genes.

    Raises
    ------
    ValueError
        A gene occurs twice, there is no numeric column, or a number is missing.
    """
    table = by_name(source)
    numbers = numbers_of(table)
    resolved, _ = resolve_genes(genes, table, aliases=aliases)
    rows = table.index.astype(str).get_indexer(resolved)
    return with_known(genes, numbers.to_numpy(), list(numbers.columns), rows)


def with_known(genes: Sequence[str], values: np.ndarray, columns: Sequence[str], rows: np.ndarray) -> pd.DataFrame:
    """Return ``values[rows]`` as a float32 table with ``known`` at its end; a row of -1 is all zero."""
    taken = np.zeros((len(genes), len(columns) + 1), dtype=np.float32)
    found = rows >= 0
    taken[found, :-1] = values[rows[found]]
    taken[found, -1] = 1
    return pd.DataFrame(taken, index=list(genes), columns=[*columns, KNOWN])


def safe_columns(names: Sequence[object]) -> list[str]:
    """Return column names that a file can hold: no ``/``, none empty, none twice, none called ``known``."""
    safe: list[str] = []
    for name in names:
        base = str(name).replace("/", "_") or "column"
        column, number = base, 2
        while column in safe or column in (KNOWN, "_index"):
            column, number = f"{base}_{number}", number + 1
        safe.append(column)
    return safe


def holds_words(values: pd.Index | pd.Series) -> bool:
    """Tell whether values are words, missing ones aside, in whichever dtype."""
    return pd.api.types.infer_dtype(values, skipna=True) == "string"


def by_name(source: pd.DataFrame | str | Path) -> pd.DataFrame:
    """Return the rows of a table or a file that have a name, indexed by it: the index, or the first column of words.

    Raises
    ------
    ValueError
        There are no names.
    """
    table = source if isinstance(source, pd.DataFrame) else read_table(source)
    if not holds_words(table.index):
        words = [column for column in table.columns if holds_words(table[column])]
        if not words:
            msg = (
                "the table must be indexed by gene name (or drug name), or have a column of them; "
                f"found {list(map(str, table.columns))}."
            )
            raise ValueError(msg)
        table = table.set_index(words[0])
    return table[table.index.notna()]


def numbers_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of numbers of a table indexed by name, float32, under names that a file can hold.

    Raises
    ------
    ValueError
        A name occurs twice, there is no numeric column, or a number is missing.
    """
    twice = table.index[table.index.duplicated()].unique()
    if len(twice):
        msg = f"the table has several rows for {list(map(str, twice[:3]))}; keep one row per name."
        raise ValueError(msg)
    numbers = table.select_dtypes(["number", "bool"])
    if numbers.shape[1] == 0:
        msg = f"the table has no column of numbers; found {list(map(str, table.columns))[:12]}."
        raise ValueError(msg)
    values = numbers.to_numpy(dtype=np.float32)
    check_finite(values, what="the numbers of the table")
    return pd.DataFrame(values, index=table.index.astype(str), columns=safe_columns(numbers.columns))
