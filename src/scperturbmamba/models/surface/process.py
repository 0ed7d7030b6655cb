"""A Gaussian process over points: one kernel for all genes, an amplitude for each, and noise that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from scperturbmamba.models.gate import Vector
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.surface.noise import RowNoise

AMPLITUDES = np.exp(np.linspace(-7.0, 5.0, 13))  # variance of what is learned over the variance of the noise
_ROWS = 20  # that the known level of the noise is worth
_STEPS, _MOST = 40, 300  # of the search, per number and in all
_FARTHEST = 4.0  # that a number goes from where it starts


@dataclass(frozen=True)
class Process:
    """What was measured, and what follows from it for every other point.

    Attributes
    ----------
    kernel
        (points × points): covariance of what is learned, up to a factor per gene.
    white
        (points × points): what makes the noise independent, as of :func:`whitening`.
    y
        (points × genes): measured.
    level
        (genes,): variance of the noise as far as sampling tells, 0 where nothing is known. It is believed as much as
        twenty rows: what one perturbation does alone looks just like noise where it was measured once.
    """

    kernel: Rows
    white: Rows
    y: Rows
    level: Vector

    @classmethod
    def of(cls, kernel: Rows, noise: RowNoise, y: Rows) -> Self:
        """Return the process of measurements with that noise."""
        return cls(kernel, whitening(noise.between), y, noise.level)

    @cached_property
    def _axes(self) -> tuple[Vector, Rows]:
        """Variances and axes of the kernel where the noise is white."""
        values, axes = np.linalg.eigh(self.white @ (self.kernel / self.scale) @ self.white.T)
        return np.maximum(values, 0.0), axes

    @cached_property
    def _inside(self) -> Rows:
        """What turns measurements into white noise along the axes of the kernel."""
        return np.asarray(self._axes[1].T @ self.white, np.float64)

    @cached_property
    def _seen(self) -> Rows:
        """The measurements along those axes (points × genes)."""
        return np.asarray(self._axes[1].T @ (self.white @ self.y), np.float64)

    @cached_property
    def scale(self) -> float:
        """Mean of the kernel's diagonal."""
        return float(np.mean(np.diag(self.kernel))) or 1.0

    @property
    def _told(self) -> int:
        """How many rows the level of the noise is worth."""
        return _ROWS if self.level.any() else 0

    @cached_property
    def noises(self) -> Rows:
        """(amplitudes × genes): the variance of the noise that fits best, as a factor of the noise that is known."""
        spread = AMPLITUDES[:, None] * self._axes[0] + 1
        squares = (1 / spread) @ np.square(self._seen) + self._told * self.level
        return np.asarray(squares / (len(self.y) + self._told), np.float64)

    @cached_property
    def evidence(self) -> Rows:
        """(amplitudes × genes): log likelihood at that noise."""
        spread = AMPLITUDES[:, None] * self._axes[0] + 1
        with np.errstate(divide="ignore"):
            logs = (len(self.y) + self._told) * np.log(self.noises)
        return np.asarray(-0.5 * (logs + np.log(spread).sum(1)[:, None]), np.float64)

    @cached_property
    def _best(self) -> NDArray[np.int64]:
        """(genes,): number of the likeliest amplitude."""
        return np.argmax(self.evidence, axis=0)

    @property
    def amplitude(self) -> Vector:
        """(genes,): the likeliest."""
        return np.asarray(AMPLITUDES[self._best], np.float64)

    @property
    def noise(self) -> Vector:
        """(genes,): variance of the noise at the likeliest amplitude, as a factor of the noise that is known."""
        return np.asarray(self.noises[self._best, np.arange(len(self._best))], np.float64)

    @cached_property
    def solved(self) -> Rows:
        """(points × genes): the inverse of the covariance of measurements, kernel and noise, times the measurements."""
        values, axes = self._axes
        return np.asarray(self.white.T @ (axes @ (self._seen / (self.amplitude * values[:, None] + 1))), np.float64)

    def weights(self) -> Rows:
        """Return what a kernel of new points and these is multiplied by (points × genes)."""
        return np.asarray(self.amplitude * self.solved / self.scale, np.float64)

    def left_out(self, groups: Sequence[NDArray[np.integer]]) -> list[Rows]:
        """Return what is said of every group of points by all others, exactly (points of the group × genes)."""
        values, inside = self._axes[0], self._inside
        said = [np.zeros((len(group), self.y.shape[1])) for group in groups]
        for amplitude in np.unique(self.amplitude):
            genes = np.flatnonzero(self.amplitude == amplitude)
            weight = 1 / (amplitude * values[:, None] + 1)
            pulled = inside.T @ (weight * self._seen[:, genes])
            for found, group in zip(said, groups):
                own = inside[:, group].T @ (weight * inside[:, group])
                found[:, genes] = self.y[np.ix_(group, genes)] - np.linalg.solve(own, pulled[group])
        return said


def whitening(noise: Rows) -> Rows:
    """Return what makes noise of this covariance independent, with variance 1."""
    root = np.linalg.cholesky(noise)
    return np.asarray(solve_triangular(root, np.eye(len(root)), lower=True), np.float64)


def likeliest(process_of: Callable[[Vector], Process], first: Vector, free: NDArray[np.bool_]) -> Vector:
    """Search the free numbers that make measurements likeliest, by a simplex.

    Each is expected within about 1 of where it starts, and never goes farther than 4.
    """

    def with_some(some: Vector) -> Vector:
        numbers = first.copy()
        numbers[free] = some
        return numbers

    def cost(some: Vector) -> float:
        if np.abs(some - start).max(initial=0) > _FARTHEST:
            return 1e12
        evidence = float(process_of(with_some(some)).evidence.max(0).sum())
        return float(np.square(some - start).sum() / 2) - evidence

    start = first[free]
    if not len(start):
        return first
    simplex = np.vstack([start, start + np.eye(len(start))])
    options = {"maxfev": min(_MOST, _STEPS * len(start)), "initial_simplex": simplex, "xatol": 0.05, "fatol": 0.1}
    found = minimize(cost, start, method="Nelder-Mead", options={**options, "adaptive": True})
    return with_some(found.x)
