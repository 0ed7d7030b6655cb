"""Means over the cells of each condition, and what they are uncertain by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba.data.statistics import group_sums


@dataclass(frozen=True)
class ConditionMeans:
    """Conditions × columns of one kind of numbers of cells.

    Attributes
    ----------
    name
        What was averaged.
    means
        Conditions × columns.
    within
        Covariance of cells within conditions, columns × columns; or its diagonal (columns,), where any map is not to be
        looked for, but only one of column by column.
    n_cells
        (conditions,).
    """

    name: str
    means: NDArray[np.float64]
    within: NDArray[np.float64]
    n_cells: NDArray[np.int64]

    @classmethod
    def of(cls, name: str, values: Any, group: NDArray[np.int64], *, any_map: bool) -> ConditionMeans:
        """Average cells × columns, sparse or dense, over groups 0 to k - 1; a cell of group -1 is of none."""
        values, group = values[group >= 0].astype(np.float64), group[group >= 0]
        n_cells = np.bincount(group)
        means = group_sums(values, group, len(n_cells)) / n_cells[:, None]
        free = max(1, len(group) - len(n_cells))
        if any_map:
            change = np.asarray(values.todense() if sp.issparse(values) else values) - means[group]
            return cls(name, means, change.T @ change / free, n_cells)
        squares = values.multiply(values) if sp.issparse(values) else np.square(values)
        within = np.asarray(squares.sum(axis=0)).ravel() - (n_cells[:, None] * np.square(means)).sum(axis=0)
        return cls(name, means, np.maximum(within, 0) / free, n_cells)

    def rows(self, places: NDArray[np.int64]) -> ConditionMeans:
        """Return some conditions."""
        return replace(self, means=self.means[places], n_cells=self.n_cells[places])

    def first(self, n_columns: int) -> ConditionMeans:
        """Return the first columns."""
        return replace(self, means=self.means[:, :n_columns], within=self.within[:n_columns, :n_columns])
