"""Kernel ridge and nearest neighbours on a kernel, with exact leave-one-out predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
PENALTIES = tuple(float(10.0**power) for power in (-1, -0.5, 0, 0.5, 1, 1.5, 2, 3))
NEIGHBOURS = (5, 10, 20, 40, 80)


@dataclass(frozen=True)
class Member:
    """One way to predict from one kernel.

    Attributes
    ----------
    kernel
        Number of the kernel.
    kind
        ``"ridge"`` or ``"neighbours"``.
    setting
        Penalty, or number of neighbours.
    """

    kernel: int
    kind: str
    setting: float

    def left_out(self, kernel: Rows, y: Rows) -> Rows:
        """Return what every row would be predicted without itself (rows × outputs)."""
        if self.kind == "neighbours":
            return average_of_nearest(kernel - np.diag(np.diag(kernel)), y, int(self.setting))
        inverse = np.linalg.inv(kernel + self.setting * np.eye(len(y)))
        return np.asarray(y - (inverse @ y) / np.diag(inverse)[:, None], np.float64)

    def predict(self, kernel: Rows, across: Rows, y: Rows) -> Rows:
        """Return new rows (new × outputs) from their kernel with the training rows (new × rows)."""
        if self.kind == "neighbours":
            return average_of_nearest(across, y, int(self.setting))
        return np.asarray(across @ np.linalg.solve(kernel + self.setting * np.eye(len(y)), y), np.float64)


def members(n_kernels: int, n_rows: int) -> list[list[Member]]:
    """Return, for every kernel and kind, the settings to choose among."""
    near = [float(k) for k in NEIGHBOURS if k < n_rows] or [float(max(1, n_rows - 1))]
    found = []
    for kernel in range(n_kernels):
        found.append([Member(kernel, "ridge", penalty) for penalty in PENALTIES])
        found.append([Member(kernel, "neighbours", k) for k in near])
    return found


def average_of_nearest(kernel: Rows, y: Rows, k: int) -> Rows:
    """Average the k rows of y that are most alike, weighted by likeness (new × rows); what is unlike counts nothing."""
    likeness = np.maximum(kernel, 0)
    if k < likeness.shape[1]:
        least = np.partition(likeness, -k, axis=1)[:, -k]
        likeness = np.where(likeness >= least[:, None], likeness, 0)
    total = likeness.sum(1, keepdims=True)
    return np.divide(likeness @ y, total, out=np.zeros((len(kernel), y.shape[1])), where=total > 0)


def cosines(one: Rows, other: Rows) -> Rows:
    """Return the cosine of every two rows; 0 where a row is zero, that is where nothing is known."""
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (one, other))
    return np.asarray(a @ b.T, np.float64)
