"""Sums over all sets of guides that a cell may carry, cell by cell, without listing a set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Entries:
    """Non-zero guide counts in blocks, each with at most one entry of a cell.

    Attributes
    ----------
    cell, guide, umi
        One number per entry.
    blocks
        Where each block lies.
    n_cells, n_guides
        Size of the table they come from.
    """

    cell: NDArray[np.int64]
    guide: NDArray[np.int64]
    umi: Array
    blocks: tuple[slice, ...]
    n_cells: int
    n_guides: int

    @classmethod
    def of(cls, counts: sp.csr_matrix) -> Entries:
        """Read the non-zero entries of cells × guides."""
        table = counts.tocsr().astype(np.float64)
        table.eliminate_zeros()
        cell = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
        rank = np.arange(table.nnz) - table.indptr[cell]
        order = np.argsort(rank, kind="stable")
        ends = np.cumsum(np.bincount(rank)) if table.nnz else np.array([], dtype=int)
        starts = np.concatenate([[0], ends[:-1]]) if table.nnz else ends
        blocks = tuple(slice(int(start), int(end)) for start, end in zip(starts, ends))
        return cls(cell[order], table.indices[order].astype(np.int64), table.data[order], blocks, *table.shape)

    def per_guide(self, weights: Array) -> Array:
        """Sum entries by guide."""
        return np.bincount(self.guide, weights, self.n_guides).astype(np.float64)

    def per_cell(self, weights: Array) -> Array:
        """Sum entries by cell."""
        return np.bincount(self.cell, weights, self.n_cells).astype(np.float64)


def symmetric_sums(values: Array, most: int) -> Array:
    """Return the sum of the products of all sets of 0, 1, 2, … and of ``most`` or more values."""
    sums = np.zeros(most + 1)
    sums[0] = 1
    for value in values:
        last = value * sums[-1]
        sums[1:] += value * sums[:-1]
        sums[-1] += last
    return sums


@dataclass(frozen=True)
class SetSums:
    """One sweep over the entries: sums over the sets of each size, kept in range by a factor per entry."""

    ambient: Array
    carried: Array
    sums: Array  # cells × sizes
    before: Array  # entries × sizes: the sums of the entry's cell before it was added
    scale: Array  # per entry
    log_scale: Array  # per cell


def forward(ambient: Array, carried: Array, entries: Entries, n_sizes: int) -> SetSums:
    """Sum, cell by cell, the likelihood of all sets of 0, 1, 2, … carried guides."""
    sums = np.zeros((entries.n_cells, n_sizes))
    sums[:, 0] = 1
    before = np.empty((len(ambient), n_sizes))
    scale = np.empty(len(ambient))
    for block in entries.blocks:
        cells = entries.cell[block]
        now = before[block] = sums[cells]
        after = ambient[block, None] * now
        after[:, 1:] += carried[block, None] * now[:, :-1]
        after[:, -1] += carried[block] * now[:, -1]
        scale[block] = after.max(axis=1)
        sums[cells] = after / scale[block, None]
    return SetSums(ambient, carried, sums, before, scale, entries.per_cell(np.log(scale)))


def backward(one: SetSums, entries: Entries, prior: Array) -> Array:
    """Return per entry the likelihood of the sets that hold it, in the scale of the cell's sums."""
    gradient = np.tile(prior, (entries.n_cells, 1))
    held = np.empty(len(one.scale))
    for block in reversed(entries.blocks):
        cells = entries.cell[block]
        now = gradient[cells] / one.scale[block, None]
        larger = np.concatenate([now[:, 1:], now[:, -1:]], axis=1)  # a set of the last size stays there
        held[block] = one.carried[block] * (larger * one.before[block]).sum(axis=1)
        earlier = one.ambient[block, None] * now + one.carried[block, None] * larger
        gradient[cells] = earlier
    return held
