"""One pass over sparse counts, for the likelihood of all cells of a row."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaln

from scperturbmamba.data.bundle_cells import Cells
from scperturbmamba.engine.cell_likelihood import CellStatistics

_BLOCK = 512  # genes whose sums are held in the cache at once
_SMALL = 8  # counts below have a column of their own in the table; those above are sorted
_DIGITS = 17.0  # natural log of one over the error of the interpolation


def cell_statistics(cells: Cells, n_rows: int, order: NDArray[np.int64]) -> CellStatistics:
    """Return the statistics of the cells of each row, genes in the order of the sequence.

    Parameters
    ----------
    cells
        Counts and size factors; cells whose row is negative are left out.
    n_rows
        Rows of the bundle.
    order
        (genes,): place in the screen of each gene of the sequence.
    """
    by_row = np.argsort(cells.row, kind="stable")
    first = np.searchsorted(cells.row[by_row], np.arange(n_rows + 1))
    of_row = [by_row[start:stop] for start, stop in zip(first, first[1:])]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))

    n_nodes = max((_n_nodes(cells.size[some]) for some in of_row if len(some)), default=1)
    nodes, cells_at = np.ones((n_rows, n_nodes)), np.zeros((n_rows, n_nodes))
    counts_at = np.zeros((n_rows, n_nodes, len(order)), np.float32)
    constant = np.zeros(n_rows)
    distinct = [np.empty((3, 0), np.int64)] * n_rows
    add_up = _Pass(cells.counts, place, n_nodes)
    for row, some in enumerate(of_row):
        if len(some):
            log_size = np.log(cells.size[some].astype(np.float64))
            nodes[row], cardinal = _interpolation(log_size, n_nodes)
            cells_at[row] = cardinal.sum(0)
            totals, distinct[row] = add_up(some, cardinal, counts_at[row])
            _, value, times = distinct[row]
            constant[row] = totals @ log_size - times @ gammaln(value + 1.0)
    gene, value, times = np.concatenate(distinct, axis=1)
    return CellStatistics(
        nodes=torch.from_numpy(nodes),
        cells_at=torch.from_numpy(cells_at),
        counts_at=torch.from_numpy(counts_at),
        n_cells=torch.tensor([float(len(some)) for some in of_row], dtype=torch.float64),
        constant=torch.from_numpy(constant),
        start=torch.from_numpy(np.concatenate([[0], np.cumsum([one.shape[1] for one in distinct])])),
        gene=torch.from_numpy(gene),
        value=torch.from_numpy(value),
        times=torch.from_numpy(times),
    )


def _n_nodes(size: NDArray[np.floating]) -> int:
    """Return how many nodes the interpolation needs: log(1 + e^x) is smooth up to i pi, and so errors fall with K."""
    half = max((math.log(size.max()) - math.log(size.min())) / 2, 1e-3)
    return max(3, math.ceil(_DIGITS / math.asinh(math.pi / half)))


def _interpolation(log_size: NDArray[np.float64], n_nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Chebyshev nodes (K,) as sizes, and the weight of each cell at each of them, (cells, K)."""
    low, high = log_size.min() - 1e-9, log_size.max() + 1e-9
    centre, half = (low + high) / 2, (high - low) / 2
    k = np.arange(n_nodes)
    at = np.cos((2 * k + 1) * np.pi / (2 * n_nodes))
    angle = np.arccos(np.clip((log_size - centre) / half, -1, 1))
    scale = np.where(k == 0, 1.0, 2.0) / n_nodes
    cardinal = (np.cos(angle[:, None] * k) * scale) @ np.cos(np.arccos(at)[:, None] * k).T
    return np.exp(centre + half * at), cardinal


class _Pass:
    """Goes over the cells of a row once, a block of genes after the other, so that its tables stay in the cache."""

    def __init__(self, counts: Any, place: NDArray[np.int64], n_nodes: int) -> None:
        sparse = counts if counts.has_sorted_indices else counts.sorted_indices()
        self.indptr, self.indices, self.data = sparse.indptr, sparse.indices, sparse.data
        self.place = place
        self.table = np.empty((_BLOCK, n_nodes))
        self.small = np.empty((_BLOCK, _SMALL), np.int64)
        self.add_up = _compiled()

    def __call__(
        self, some: NDArray[np.int64], cardinal: NDArray[np.float64], counts_at: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Fill in counts at the nodes (K, genes); return the total of each cell and the distinct counts (3, n)."""
        totals = np.zeros(len(some))
        n_entries = int((self.indptr[some + 1] - self.indptr[some]).sum())
        pairs = np.empty((3, min(n_entries, len(self.place) * (_SMALL - 1))), np.int64)
        large = np.empty(n_entries, np.int64)
        sparse = (self.indptr, self.indices, self.data)
        n_pairs, n_large = self.add_up(
            *sparse, some, self.place, cardinal, self.table, self.small, counts_at, totals, pairs, large
        )
        key, times = np.unique(large[:n_large], return_counts=True)
        return totals, np.concatenate([pairs[:, :n_pairs], [key >> 32, key & 0xFFFFFFFF, times]], axis=1)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """Return the loop, compiled on its first use."""
    from numba import njit

    @njit(nogil=True, fastmath=True)
    def add_up(
        indptr: Any, indices: Any, data: Any, some: Any, place: Any, cardinal: Any,
        table: Any, small: Any, counts_at: Any, totals: Any, pairs: Any, large: Any,
    ) -> tuple[int, int]:  # fmt: skip
        n_pairs, n_large = 0, 0
        n_nodes, n_genes = cardinal.shape[1], len(place)
        next_entry = indptr[some]
        for first in range(0, n_genes, table.shape[0]):
            last = min(first + table.shape[0], n_genes)
            table[:] = 0
            small[:] = 0
            # 1. Counts of the block, every cell taking up where it stopped.
            for c in range(len(some)):
                weight, at, end, total = cardinal[c], next_entry[c], indptr[some[c] + 1], 0
                while at < end and indices[at] < last:
                    gene, count = indices[at] - first, int(data[at])
                    total += count
                    row = table[gene]
                    for k in range(n_nodes):
                        row[k] += count * weight[k]
                    if count < _SMALL:
                        small[gene, count] += 1
                    else:
                        large[n_large] = (place[first + gene] << 32) | count
                        n_large += 1
                    at += 1
                next_entry[c] = at
                totals[c] += total
            # 2. The block goes to its genes' places in the sequence.
            for gene in range(last - first):
                for k in range(n_nodes):
                    counts_at[k, place[first + gene]] = table[gene, k]
                for count in range(1, _SMALL):
                    if small[gene, count]:
                        pairs[0, n_pairs], pairs[1, n_pairs] = place[first + gene], count
                        pairs[2, n_pairs] = small[gene, count]
                        n_pairs += 1
        return n_pairs, n_large

    return add_up
