"""A graph of genes: read its links, and give every gene a place in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from scperturbmamba.features.names import resolve_genes
from scperturbmamba.features.tables import holds_words, read_table, with_known

_RESTART, _HOPS = 0.5, 2  # of the random walk; a third step reaches nearly everything
_WEIGHTS = ("weight", "score", "combined_score")


def is_links(source: pd.DataFrame | str | Path) -> bool:
    """Tell whether a table holds links: its first two columns are words that share names, and a name may come again."""
    table = source if isinstance(source, pd.DataFrame) else read_table(source)
    if table.shape[1] < 2 or holds_words(table.index):
        return False
    first, second = (table.iloc[:, number] for number in (0, 1))
    if not (holds_words(first) and holds_words(second)):
        return False
    return bool(second.isin(first).any()) and bool(first.duplicated().any() or second.duplicated().any())


def read_links(source: pd.DataFrame | str | Path) -> tuple[list[str], sp.csr_matrix]:
    """Return the genes of a graph and their links (genes × genes), symmetric, at most 1.

    The first two columns are genes; ``weight``, ``score`` or ``combined_score`` is the strength of a link (1 where
    there is none of these), divided by its largest value.

    Raises
    ------
    ValueError
        There is no link, or a weight is negative or no number.
    """
    table = source if isinstance(source, pd.DataFrame) else read_table(source)
    table = table[table.iloc[:, 0].notna() & table.iloc[:, 1].notna()]
    column = next((name for name in _WEIGHTS if name in table), None)
    weight = np.ones(len(table)) if column is None else table[column].to_numpy(np.float64)
    if not len(table) or not (np.isfinite(weight) & (weight >= 0)).all() or not weight.max() > 0:
        msg = f"expected links between genes with weights above 0; found {len(table)} rows, weights in {column!r}."
        raise ValueError(msg)
    ends = table.iloc[:, :2].astype(str)
    names = sorted(set(ends.iloc[:, 0]) | set(ends.iloc[:, 1]))
    place = {name: row for row, name in enumerate(names)}
    rows, columns = (ends.iloc[:, number].map(place).to_numpy() for number in (0, 1))
    links = sp.csr_matrix((weight / weight.max(), (rows, columns)), shape=(len(names),) * 2)
    links = links.maximum(links.T)
    links.setdiag(0)
    links.eliminate_zeros()
    return names, links.tocsr()


def graph_table(
    genes: Sequence[str],
    source: pd.DataFrame | str | Path,
    *,
    width: int = 64,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Return genes × coordinates in a graph, half of them spectral and half of a random walk, and ``known``.

    Both are made over the whole graph and then looked up, so that they do not depend on which genes are asked for.
    Spectral: leading vectors of the normalised links; genes with the same neighbours are near. Random walk: where a
    walk of two steps from a gene is found, on a logarithmic scale; genes a few links apart are near.
    """
    names, links = read_links(source)
    half = max(1, min(width // 2, len(names) - 1))
    values = np.hstack([_spectral(links, half), _walk(links, half)]).astype(np.float32)
    resolved, _ = resolve_genes(genes, names, aliases=aliases)
    place = {name: row for row, name in enumerate(names)}
    rows = np.array([place.get(name, -1) for name in resolved], np.int64)
    columns = [f"{kind}{number + 1}" for kind in ("spectral", "walk") for number in range(half)]
    return with_known(genes, values, columns, rows)


def _spectral(links: sp.csr_matrix, width: int) -> NDArray[np.float64]:
    root = sp.diags(1 / np.sqrt(_degree(links)))
    matrix = root @ links @ root + 0.5 * sp.eye(links.shape[0])
    return _unit(TruncatedSVD(width, n_iter=4, random_state=0).fit_transform(matrix))


def _walk(links: sp.csr_matrix, width: int) -> NDArray[np.float64]:
    step = sp.diags(1 / _degree(links)) @ links
    here = sp.eye(links.shape[0], format="csr")
    found = _RESTART * here
    for hop in range(1, _HOPS + 1):
        here = here @ step
        found = found + _RESTART * (1 - _RESTART) ** hop * here
    found = found.tocsr()
    found.data = np.log1p(found.data * links.shape[0] / 10)
    return _unit(TruncatedSVD(width, n_iter=4, random_state=0).fit_transform(found))


def _degree(links: sp.csr_matrix) -> NDArray[np.float64]:
    return np.asarray(links.sum(1)).ravel() + 1e-9


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of length 1, so that what a gene is like does not depend on how many links it has."""
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(norm > 0, norm, 1)
