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

from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.surface.shape import Vector

AMPLITUDES = np.exp(np.linspace(-7.0, 5.0, 13))  # variance of what is learned over the variance of the noise
_STEPS = 40  # of the search, per number


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
    """

    kernel: Rows
    white: Rows
    y: Rows

    @cached_property
    def _axes(self) -> tuple[Vector, Rows]:
        """Variances and axes of the kernel where the noise is white."""
        values, axes = np.linalg.eigh(self.white @ (self.kernel / self.scale) @ self.white.T)
        return np.maximum(values, 0.0), axes

    @cached_property
    def scale(self) -> float:
        """Mean of the kernel's diagonal."""
        return float(np.mean(np.diag(self.kernel))) or 1.0

    @cached_property
    def noises(self) -> Rows:
        """(amplitudes × genes): the variance of the noise that fits best, as a factor of the noise that is known."""
        values, axes = self._axes
        squares = np.square(axes.T @ (self.white @ self.y))
        return np.asarray((1 / (AMPLITUDES[:, None] * values + 1)) @ squares / len(self.y), np.float64)

    @cached_property
    def evidence(self) -> Rows:
        """(amplitudes × genes): log likelihood at that noise."""
        noise = self.noises
        spread = AMPLITUDES[:, None] * self._axes[0] + 1
        with np.errstate(divide="ignore"):
            return np.asarray(-0.5 * (len(self.y) * np.log(noise) + np.log(spread).sum(1)[:, None]), np.float64)

    @cached_property
    def amplitude(self) -> Vector:
        """(genes,): the likeliest."""
        return np.asarray(AMPLITUDES[np.argmax(self.evidence, axis=0)], np.float64)

    @cached_property
    def noise(self) -> Vector:
        """(genes,): variance of the noise at the likeliest amplitude, as a factor of the noise that is known."""
        best = np.argmax(self.evidence, axis=0)
        return np.asarray(self.noises[best, np.arange(len(best))], np.float64)

    def weights(self) -> Rows:
        """Return what a kernel of new points and these is multiplied by (points × genes)."""
        values, axes = self._axes
        seen = axes.T @ (self.white @ self.y)
        return np.asarray(
            self.white.T @ (axes @ (seen * self.amplitude / (self.amplitude * values[:, None] + 1))) / self.scale,
            np.float64,
        )

    def left_out(self, groups: Sequence[NDArray[np.integer]]) -> list[Rows]:
        """Return what is said of every group of points by all others, exactly (points of the group × genes)."""
        values, axes = self._axes
        inside = axes.T @ self.white
        seen = inside @ self.y
        said = [np.zeros((len(group), self.y.shape[1])) for group in groups]
        for amplitude in np.unique(self.amplitude):
            genes = np.flatnonzero(self.amplitude == amplitude)
            weight = 1 / (amplitude * values[:, None] + 1)
            pulled = inside.T @ (weight * seen[:, genes])
            for found, group in zip(said, groups):
                own = inside[:, group].T @ (weight * inside[:, group])
                found[:, genes] = self.y[np.ix_(group, genes)] - np.linalg.solve(own, pulled[group])
        return said


def whitening(noise: Rows) -> Rows:
    """Return what makes noise of this covariance independent, with variance 1."""
    root = np.linalg.cholesky(noise)
    return np.asarray(solve_triangular(root, np.eye(len(root)), lower=True), np.float64)


@dataclass(frozen=True)
class Search:
    """Numbers that make measurements likeliest, and what is expected of them before.

    Attributes
    ----------
    numbers
        The best found.
    evidence
        Log posterior there.
    """

    numbers: Vector
    evidence: float

    @classmethod
    def run(
        cls, process_of: Callable[[Vector], Process], first: Vector, free: NDArray[np.bool_], *, most: int = 300
    ) -> Self:
        """Search over the free numbers, by a simplex; each is expected within about 1 of where it starts."""

        def cost(some: Vector) -> float:
            if np.abs(some - first[free]).max(initial=0) > 4:
                return 1e12
            numbers = first.copy()
            numbers[free] = some
            evidence = float(process_of(numbers).evidence.max(0).sum())
            return float(np.square(some - first[free]).sum() / 2) - evidence

        start = first[free]
        if not len(start):
            return cls(first, -cost(start))
        simplex = np.vstack([start, start + np.eye(len(start))])
        options = {"maxfev": min(most, _STEPS * len(start)), "initial_simplex": simplex, "xatol": 0.05, "fatol": 0.1}
        found = minimize(cost, start, method="Nelder-Mead", options={**options, "adaptive": True})
        numbers = first.copy()
        numbers[free] = found.x
        return cls(numbers, -float(found.fun))
