"""Kernel ridge and nearest neighbours on likeness of features, with exact leave-one-out predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
PENALTIES = tuple(float(10.0**power) for power in (-1, -0.5, 0, 0.5, 1, 1.5, 2, 3))
NEIGHBOURS = (5, 10, 20, 40, 80)
_TINY = 1e-10


@dataclass(frozen=True)
class Kernel:
    """Likeness of rows: the cosine of their vectors, 0 where nothing is known of one.

    Attributes
    ----------
    vectors
        (rows × numbers): of length 1, or 0.
    """

    vectors: Rows

    @classmethod
    def of(cls, vectors: Rows) -> Self:
        """Bring vectors to length 1."""
        return cls(unit(vectors))

    @classmethod
    def mean(cls, kernels: Sequence[Kernel]) -> Self:
        """Return the kernel that is the mean of several."""
        return cls(np.concatenate([one.vectors for one in kernels], axis=1) / np.sqrt(len(kernels)))

    def take(self, rows: NDArray[np.integer]) -> Kernel:
        """Return the kernel of some rows."""
        return Kernel(self.vectors[rows])

    def across(self, other: Kernel) -> Rows:
        """Return the likeness of these rows and others (rows × others)."""
        return np.asarray(self.vectors @ other.vectors.T, np.float64)

    @cached_property
    def axes(self) -> tuple[Rows, Rows, Rows]:
        """The singular value decomposition of the vectors, as far as they span."""
        left, scale, right = np.linalg.svd(self.vectors, full_matrices=False)
        kept = scale > _TINY * max(float(scale[:1].sum()), 1e-300)
        return left[:, kept], scale[kept], right[kept]

    @cached_property
    def to_others(self) -> Rows:
        """Likeness of every two rows, 0 of a row with itself."""
        found = self.across(self)
        np.fill_diagonal(found, 0)
        return found


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

    def left_out(self, kernel: Kernel, y: Rows) -> Rows:
        """Return what every row would be predicted without itself (rows × outputs)."""
        if self.kind == "neighbours":
            return average_of_nearest(kernel.to_others, y, int(self.setting))
        left, scale, _ = kernel.axes
        kept = np.square(scale) / (np.square(scale) + self.setting)
        own = (np.square(left) @ kept)[:, None]
        return np.asarray(((left * kept) @ (left.T @ y) - own * y) / (1 - own), np.float64)

    def predict(self, kernel: Kernel, new: Kernel, y: Rows) -> Rows:
        """Return what is expected of new rows (new × outputs), whose vectors are those of the training rows."""
        if self.kind == "neighbours":
            return average_of_nearest(new.across(kernel), y, int(self.setting))
        left, scale, right = kernel.axes
        weights = (right.T * (scale / (np.square(scale) + self.setting))) @ (left.T @ y)
        return np.asarray(new.vectors @ weights, np.float64)


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


def unit(rows: Rows) -> Rows:
    """Return rows of length 1; a row of zeros stays."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)


def cosines(one: Rows, other: Rows) -> Rows:
    """Return the cosine of every two rows; 0 where a row is zero, that is where nothing is known."""
    return np.asarray(unit(one) @ unit(other).T, np.float64)
