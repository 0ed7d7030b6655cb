"""Shift cells to a mean without leaving what expression can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shift_to_mean(cells: NDArray[np.floating], mean: NDArray[np.floating]) -> NDArray[np.float32]:
    """Add a number per gene and clip at 0, the number chosen so that the cells have this mean.

    Where a mean rises, that is the difference of the means. Where it falls, cells at 0 cannot follow and the others
    go further: the nearest not negative values of that mean.

    Parameters
    ----------
    cells
        (cells × genes), not negative.
    mean
        (genes,); below 0 counts as 0.
    """
    n = len(cells)
    total = n * np.maximum(mean, 0).astype(np.float64)
    ordered = -np.sort(-cells.astype(np.float64), axis=0)
    excess = np.cumsum(ordered, axis=0) - total
    above = ordered * np.arange(1, n + 1)[:, None] > excess
    n_above = np.maximum(above.sum(axis=0), 1)
    shift = -np.take_along_axis(excess, n_above[None] - 1, axis=0) / n_above
    return np.maximum(cells + shift, 0).astype(np.float32)
