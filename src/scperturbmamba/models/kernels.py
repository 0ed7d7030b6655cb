"""How alike rows are by their numbers, and what the most alike say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


def average_of_nearest(kernel: Rows, y: Rows, k: int) -> Rows:
    """Average the k rows of y that are most alike, weighted by likeness (new × rows); what is unlike counts nothing."""
    likeness = np.maximum(kernel, 0)
    if k < likeness.shape[1]:
        least = np.partition(likeness, -k, axis=1)[:, -k]
        likeness = np.where(likeness >= least[:, None], likeness, 0)
    total = likeness.sum(1, keepdims=True)
    return np.divide(likeness @ y, total, out=np.zeros((len(kernel), y.shape[1])), where=total > 0)


def unit(rows: Rows) -> Rows:
    """Return rows of length 1; a row of zeros stays."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)


def cosines(one: Rows, other: Rows) -> Rows:
    """Return the cosine of every two rows; 0 where a row is zero, that is where nothing is known."""
    return np.asarray(unit(one) @ unit(other).T, np.float64)
