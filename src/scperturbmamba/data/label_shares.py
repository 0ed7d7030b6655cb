"""How much of cell-level numbers is told by the labels of the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba.data.statistics import group_sums

_PER_LABEL, _CELLS = 40, 2000  # cells that are looked at
_FEWEST_REPEATS = 50
_DIRECTIONS, _PERMUTATIONS = 200, 99


def within_shares(values: Any, group: NDArray[np.int64], *, skip_zeros: bool = False) -> NDArray[np.float64]:
    """Return (columns,): variance within labels over total variance; NaN where a column does not vary.

    0 where a column is constant within every label; 1 on average where labels say nothing, as in permuted labels:
    both variances are divided by their degrees of freedom.

    Parameters
    ----------
    values
        Cells × columns, sparse or dense.
    group
        (cells,): label of each cell, from 0; every label occurs.
    skip_zeros
        Take zeros as missing, for numbers of which some were dropped; NaN where fewer than 50 others repeat a label.
    """
    n_labels, values = int(group.max()) + 1, values.astype(np.float64)
    present = (values != 0) if skip_zeros else np.ones((len(group), 1))
    largest = np.asarray(abs(values).max(axis=0).todense() if sp.issparse(values) else abs(values).max(axis=0)).ravel()
    if not sp.issparse(values):
        mean = values.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
        values = np.where(present, values - mean, 0.0)
    n = group_sums(present.astype(np.float64), group, n_labels)
    sums = group_sums(values, group, n_labels)
    squares = values.multiply(values) if sp.issparse(values) else np.square(values)
    raw = np.asarray(squares.sum(axis=0), dtype=np.float64).ravel()
    total = raw - np.square(sums.sum(axis=0)) / np.maximum(n.sum(axis=0), 1)
    within = raw - (np.square(sums) / np.maximum(n, 1)).sum(axis=0)
    free = n.sum(axis=0) - (n > 0).sum(axis=0)
    rounding = 1e-12 if sp.issparse(values) else 1e-20  # of squares that are centred or not
    varies = total > rounding * n.sum(axis=0) * np.square(largest)
    varies &= free >= (_FEWEST_REPEATS if skip_zeros else 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(within / total, 0, None) * (n.sum(axis=0) - 1) / free
    return np.where(varies, share, np.nan)


def some_cells(group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return up to 40 cells of each label, labels in random order until there are 2,000 cells."""
    order = rng.permutation(len(group))
    order = order[np.argsort(group[order], kind="stable")]
    first = np.searchsorted(group[order], group[order])
    rank = np.arange(len(order)) - first
    keep = order[rank < _PER_LABEL]
    turn = rng.permutation(int(group.max()) + 1)[group[keep]]
    return keep[np.argsort(turn, kind="stable")][:_CELLS]


def neighbour_agreement(values: Any, group: NDArray[np.int64]) -> float:
    """Return the share of cells whose nearest other cell has the same label, columns scaled to unit variance.

    Cells whose label occurs once are left out; NaN where fewer than two labels occur twice.
    """
    size = np.bincount(group)
    again = size[group] > 1
    if np.unique(group[again]).size < 2:
        return float("nan")
    dense = _scaled(values[np.flatnonzero(again)])
    distance = np.square(dense).sum(axis=1)[None, :] - 2 * dense @ dense.T
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    return float(np.mean(group[again][nearest] == group[again]))


def follows_labels(
    values: Any, group: NDArray[np.int64], strata: NDArray[np.int64], *, rng: np.random.Generator
) -> float:
    """Return by how many standard deviations the variance within labels differs from that of permuted labels.

    Below 0: the numbers follow the labels; above 0: what differs between labels was taken away.

    Parameters
    ----------
    values
        Cells × columns, sparse or dense.
    group
        (cells,): label of each cell.
    strata
        (cells,): labels are permuted within these.
    rng
        Draws permutations, and cells and directions where there are many.
    """
    cells = np.sort(rng.permutation(len(group))[:_CELLS])
    group, strata = np.unique(group[cells], return_inverse=True)[1], strata[cells]
    scaled = _scaled(values[cells])
    if scaled.shape[1] > _DIRECTIONS:
        scaled = scaled @ rng.standard_normal((scaled.shape[1], _DIRECTIONS))
    observed, *permuted = (
        np.square(group_sums(scaled, labels, int(group.max()) + 1)).sum(axis=1) @ (1 / np.bincount(group))
        for labels in (group, *(_permuted(group, strata, rng) for _ in range(_PERMUTATIONS)))
    )
    spread = max(float(np.std(permuted)), 1e-9 * float(np.mean(permuted)), 1e-300)
    return float((np.mean(permuted) - observed) / spread)


def _permuted(group: NDArray[np.int64], strata: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    shuffled = np.empty_like(group)
    shuffled[np.argsort(strata, kind="stable")] = group[np.lexsort((rng.random(len(group)), strata))]
    return shuffled


def _scaled(values: Any) -> NDArray[np.float64]:
    """Return dense columns of mean 0 and variance 1, without the constant ones."""
    dense = np.asarray(values.todense() if sp.issparse(values) else values, dtype=np.float64)
    spread = dense.std(axis=0)
    varies = spread > 1e-6 * np.abs(dense).max(axis=0, initial=0)
    return (dense - dense.mean(axis=0))[:, varies] / spread[varies]
