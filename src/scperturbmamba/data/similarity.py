"""How alike rows of effects are, and the tree that joins them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

METRICS: Final = ("pearson", "spearman", "cosine")

_ROUNDING = 1e-6  # what is left of a float32 row of that relative size is rounding, not an effect
_ORDERED_ROWS = 1000  # beyond, leaves that are alike are no longer turned towards each other: it would take minutes


def take_away(values: NDArray[np.float64], shared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract what rows share; a row of which only rounding is left becomes zero."""
    left = values - shared
    is_rounding = np.nansum(np.square(left), axis=1) <= _ROUNDING**2 * np.nansum(np.square(values), axis=1)
    return np.where(is_rounding[:, None] & ~np.isnan(left), 0.0, left)


def centre_rows(effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the mean effect of all rows away, gene by gene over the rows that have it."""
    known = ~np.isnan(effects)
    mean = np.where(known, effects, 0).sum(0) / np.maximum(known.sum(0), 1)
    return take_away(effects, mean)


def varied_genes(effects: NDArray[np.float64], n_genes: int) -> NDArray[np.int64]:
    """Return the places, in their order, of the genes whose effects vary most over the rows."""
    known = ~np.isnan(effects)
    variance = np.square(np.where(known, centre_rows(effects), 0)).sum(0) / np.maximum(known.sum(0), 1)
    return np.sort(np.argsort(-variance, kind="stable")[:n_genes])


def similarity(effects: NDArray[np.float64], *, metric: str) -> NDArray[np.float64]:
    """Compare every row with every other over the genes that both have (rows × rows, from -1 to 1).

    A row that does not vary over the shared genes (or is zero, for the cosine) is like nothing: NaN.
    """
    alike = _ranked(effects) if metric == "spearman" else _products(effects, centred=metric == "pearson")
    alike = np.clip((alike + alike.T) / 2, -1, 1)
    np.fill_diagonal(alike, np.where(np.isnan(alike.diagonal()), np.nan, 1.0))
    return alike


def join(alike: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scipy's linkage of the rows: average linkage on 1 - similarity, an unknown similarity counting as 0."""
    apart = 1 - np.nan_to_num(alike, nan=0.0)
    np.fill_diagonal(apart, 0)
    tree: NDArray[np.float64] = linkage(
        squareform(apart, checks=False), "average", optimal_ordering=len(alike) <= _ORDERED_ROWS
    )
    return tree


def _products(effects: NDArray[np.float64], *, centred: bool) -> NDArray[np.float64]:
    """Return the correlations of rows, or their cosines; the sums over shared genes are products with the mask."""
    known = ~np.isnan(effects)
    if centred:
        mean = np.where(known, effects, 0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
        effects = take_away(effects, mean)
    values, mask = np.where(known, effects, 0), known.astype(np.float64)
    shared: list[NDArray[np.float64]] = [
        one.sum(1, keepdims=True) if known.all() else one @ mask.T for one in (mask, values, values**2)
    ]
    n, total, square = np.maximum(shared[0], 1), shared[1], shared[2]
    product, spread = values @ values.T, square
    if centred:
        product, spread = product - total * total.T / n, square - total**2 / n
    spread = np.where((n > 1) & (spread > _ROUNDING**2 * square), spread, np.nan)
    return product / np.sqrt(spread * spread.T)


def _ranked(effects: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank correlations of rows; those with the same gaps are ranked together, others pair by pair."""
    known = ~np.isnan(effects)
    _, first, pattern = np.unique(np.packbits(known, axis=1), axis=0, return_index=True, return_inverse=True)
    members = [np.flatnonzero(pattern.ravel() == one) for one in range(len(first))]
    alike = np.empty((len(effects), len(effects)))
    for one, rows in enumerate(members):
        for other, columns in enumerate(members[: one + 1]):
            genes = np.flatnonzero(known[first[one]] & known[first[other]])
            together = rows if one == other else np.concatenate([rows, columns])
            ranks = rankdata(effects[np.ix_(together, genes)], axis=1)
            block = _products(ranks, centred=True)
            alike[np.ix_(rows, columns)] = block[: len(rows), -len(columns) :]
            alike[np.ix_(columns, rows)] = block[: len(rows), -len(columns) :].T
    return alike
