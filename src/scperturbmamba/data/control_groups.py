"""Which control cells a treated cell is compared with, as plain arrays."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.statistics import group_means, group_sums

Rows = NDArray[np.float64]


def control_groups(adata: AnnData) -> NDArray[np.int64] | None:
    """Return (cells,): the group that ``spm.pp.match_controls`` gave, -1 where a cell has none; None without groups."""
    if _keys.CONTROL_GROUP not in adata.uns or _keys.CONTROL_GROUP not in adata.obs:
        return None
    return pd.factorize(adata.obs[_keys.CONTROL_GROUP])[0].astype(np.int64)


def are_several(row: NDArray[np.int64], groups: NDArray[np.int64], context: NDArray[np.int64]) -> bool:
    """Tell whether the cells of some context are of several groups; where all are of one, its control is the context's.

    ``row`` and ``groups`` are (cells,), ``context`` is (rows,).
    """
    known = (row >= 0) & (groups >= 0)
    pairs = np.unique(np.column_stack([context[row[known]], groups[known]]), axis=0)
    return len(pairs) > len(np.unique(pairs[:, 0]))


@dataclass(frozen=True)
class SharedControls:
    """Which control cells rows are compared with: those that share them share their noise.

    Attributes
    ----------
    share
        Rows × sets of control cells, sparse: the share of a row's cells that is compared with each set.
    n_cells
        (sets,): control cells in each.
    """

    share: sp.csr_matrix
    n_cells: NDArray[np.int64]

    def take(self, rows: NDArray[np.integer]) -> SharedControls:
        """Return those of some rows."""
        return SharedControls(self.share[rows], self.n_cells)

    def and_then(self, others: SharedControls) -> SharedControls:
        """Return these rows, then others, which are compared with other control cells."""
        share = sp.block_diag([self.share, others.share], format="csr")
        return SharedControls(share, np.concatenate([self.n_cells, others.n_cells]))

    @classmethod
    def of(cls, own: NDArray[np.integer], is_control: NDArray[np.bool_], n_cells: NDArray[np.int64]) -> SharedControls:
        """Return rows that are each compared with one control row, whose place is ``own``."""
        place = np.cumsum(is_control) - 1
        share = sp.csr_matrix((np.ones(len(own)), (np.arange(len(own)), place[own])), (len(own), int(is_control.sum())))
        return cls(share, n_cells[is_control])

    @classmethod
    def none(cls) -> SharedControls:
        """Return those of no rows."""
        return cls(sp.csr_matrix((0, 0)), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Matched:
    """What the matched controls of each row are.

    Attributes
    ----------
    mean
        (rows × genes): the control means of the groups of a row's cells, weighted by their shares of the cells.
    noise
        (rows × genes): variance of ``mean``.
    own
        (rows × genes): variance of the mean over a row's cells of (cell − control mean of its group).
    n_unmatched
        Rows with cells whose group has no control cells in the same context; they are compared with all its controls.
    shared
        Who is compared with whom.
    """

    mean: Rows
    noise: Rows
    own: Rows
    n_unmatched: int
    shared: SharedControls


def match_rows(
    matrix: Any,
    row: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    context: NDArray[np.int64],
    is_control: NDArray[np.bool_],
    moments: tuple[Rows, Rows, NDArray[np.int64]],
) -> Matched:
    """Match the cells of each row with the control cells of their group and context.

    Parameters
    ----------
    matrix
        Cells × genes.
    row, groups
        (cells,): row and group of each cell, or -1.
    context, is_control
        (rows,): number of the row's context; whether it is that context's control row.
    moments
        Mean, standard error (rows × genes) and number of cells of each row, the control rows included.
    """
    mean, error, n = moments
    pair, n_pairs = _pairs(row, groups, context)
    control_cell = (row >= 0) & is_control[row]
    pair_mean, pair_error, size = group_means(matrix, np.where(control_cell, pair, -1), n_pairs)

    at_large = np.flatnonzero(is_control)
    means = np.vstack([pair_mean, mean[at_large]])
    noises = np.vstack([_with_pooled(np.square(pair_error), size), np.square(error[at_large])])
    place = np.zeros(len(at_large), np.int64)
    place[context[at_large]] = n_pairs + np.arange(len(at_large))
    lost = (row >= 0) & (np.append(size, 0)[pair] == 0)
    reference = np.where(lost, place[context[row]], pair)

    share = _shares(row, reference, n, len(means))
    matched = np.asarray(share @ means)
    own = np.square(error) + _moved(matrix, row, reference, means, share, mean, matched, n)
    unmatched = np.unique(row[lost & ~control_cell])
    shared = SharedControls(share, np.concatenate([size, n[at_large]]))
    return Matched(matched, np.asarray(share.power(2) @ noises), np.maximum(own, 0), len(unmatched), shared)


def _pairs(
    row: NDArray[np.int64], groups: NDArray[np.int64], context: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Return (cells,) the number of each group in each context, -1 where a cell has none, and how many there are."""
    known = (row >= 0) & (groups >= 0)
    pair = np.full(len(row), -1, np.int64)
    level, pair[known] = np.unique(
        context[row[known]] * (groups.max(initial=0) + 1) + groups[known], return_inverse=True
    )
    return pair, len(level)


def _with_pooled(noise: Rows, size: NDArray[np.int64]) -> Rows:
    """Give groups of one control cell, whose spread is unknown, the mean spread of the groups of several."""
    several, alone = size > 1, size == 1
    if several.any():
        weight = (size[several] - 1.0)[:, None]
        noise[alone] = (weight * size[several][:, None] * noise[several]).sum(0) / weight.sum()
    return noise


def _shares(
    row: NDArray[np.int64], reference: NDArray[np.int64], n: NDArray[np.int64], n_references: int
) -> sp.csr_matrix:
    """Return rows × references: the share of a row's cells that each reference has."""
    cells = np.flatnonzero(row >= 0)
    counts = sp.csr_matrix((np.ones(len(cells)), (row[cells], reference[cells])), shape=(len(n), n_references))
    counts.data /= np.repeat(n, np.diff(counts.indptr))  # the share of a lone reference is exactly 1
    return counts


def _moved(
    matrix: Any,
    row: NDArray[np.int64],
    reference: NDArray[np.int64],
    means: Rows,
    share: sp.csr_matrix,
    mean: Rows,
    matched: Rows,
    n: NDArray[np.int64],
) -> Rows:
    """Return (rows × genes): what the squared error of a row's mean gains when its cells lose their control means.

    Variance of x − c is that of x, plus that of c, minus twice their covariance; 0 for rows with one reference.
    """
    several = share.getnnz(axis=1) > 1
    gain = np.zeros_like(mean)
    if not several.any():
        return gain
    cells = np.flatnonzero((row >= 0) & several[row])
    product = _times(matrix[cells], means, reference[cells])
    cross = group_sums(product, row[cells], len(n))[several] / n[several][:, None]
    spread = np.asarray(share[several] @ np.square(means)) - np.square(matched[several])
    both = cross - mean[several] * matched[several]
    with np.errstate(invalid="ignore", divide="ignore"):
        gain[several] = (spread - 2 * both) / (n[several] - 1.0)[:, None]
    return gain


def _times(matrix: Any, means: Rows, reference: NDArray[np.int64]) -> Any:
    """Return cells × genes: each cell times the mean of its reference; sparse where the cells are."""
    if not sp.issparse(matrix):
        return np.asarray(matrix) * means[reference]
    cells = matrix.tocsr().astype(np.float64)
    of_entry = np.repeat(reference, np.diff(cells.indptr))
    return sp.csr_matrix((cells.data * means[of_entry, cells.indices], cells.indices, cells.indptr), cells.shape)


def warn_of_unmatched(n_rows: int, where: str) -> None:
    """Tell how many rows have no control cells of their own group."""
    if n_rows:
        text = (
            f"{n_rows} rows {where} have cells without control cells of their own group, and were compared with all "
            f"control cells of the context there. Groups are in `obs[{_keys.CONTROL_GROUP!r}]`; split again with "
            "`spm.pp.split_conditions`, or take coarser groups: `spm.pp.match_controls(adata, by=...)`."
        )
        warnings.warn(text, UserWarning, stacklevel=4)
