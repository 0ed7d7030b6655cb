"""How far what features tell of names never seen is believed: judged on names left out of all that was learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.gate import Gate, folds_of
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.surface.noise import RowNoise
from scperturbmamba.models.surface.points import Points
from scperturbmamba.models.surface.process import Process
from scperturbmamba.models.surface.search import best_shape
from scperturbmamba.models.surface.shape import Shape

_FEWEST = 8  # names below which nothing is believed
_RANK = 50  # directions that are judged, each for itself


@dataclass(frozen=True)
class Belief:
    """A gate for what a surface says of a new name beside what all perturbations do.

    Attributes
    ----------
    axes
        (axes × genes): directions in which genes respond together.
    gate
        How far each of them is believed.
    foreseen
        (points × genes): what was said of each by those that had seen no point of its name, behind the gate; empty when
        stored.
    """

    axes: Rows
    gate: Gate
    foreseen: Rows

    @classmethod
    def fit(cls, points: Points, noise: RowNoise, y: Rows, shape: Shape, rng: np.random.Generator) -> Self:
        """Learn anew without some of the names, in folds, and compare what is said of those with ``y``.

        How doses and contexts count is taken from the ``shape`` of all: it tells nothing of one name.
        """
        names, place = np.unique(points.names, return_inverse=True)
        folds = [fold for fold in folds_of(len(names), rng) if len(fold)]
        shared, more, left = np.zeros_like(y), np.zeros_like(y), np.zeros_like(y)
        for fold in folds:
            rows = np.flatnonzero(np.isin(place, fold))
            shared[rows], more[rows], left[rows] = _foresee(points, noise, y, rows, shape, rng)
        axes = np.linalg.svd(left, full_matrices=False)[2][:_RANK]
        gate = Gate.shut(len(axes))
        if len(names) >= _FEWEST and more.any():
            gate = Gate.fit(more @ axes.T, left @ axes.T, folds, noise.trust, together=place)
        return cls(axes, gate, shared + _through(gate, axes, more))

    def pass_on(self, more: Rows) -> Rows:
        """Return what passes the gate (rows × genes)."""
        return _through(self.gate, self.axes, more)

    def words(self) -> str:
        """Return whether the features speak, and what they are expected to gain."""
        gain = f"{self.gate.words()} of the squared effect, on names left out"
        return f"expected gain over the mean {gain}" if self.gate.is_open else f"the features gain {gain}"

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        return self.gate.state(), {"axes": self.axes.astype(np.float32)}

    @classmethod
    def from_state(cls, words: dict[str, Any], axes: NDArray[np.floating]) -> Self:
        """Make it again."""
        return cls(axes.astype(np.float64), Gate.from_state(words), np.zeros((0, axes.shape[1])))


def _foresee(
    points: Points, noise: RowNoise, y: Rows, rows: NDArray[np.int64], like: Shape, rng: np.random.Generator
) -> tuple[Rows, Rows, Rows]:
    """Return what others say that all do, what they say beside it, and what was measured beside it (rows × genes)."""
    rest = np.setdiff1d(np.arange(len(y)), rows)
    if not len(rest):
        return np.zeros_like(y[rows]), np.zeros_like(y[rows]), y[rows]
    inside, new, known = points.take(rest), points.take(rows), noise.take(rest)
    shape = best_shape(inside, known, y[rest], rng, like=like)
    process = Process.of(shape.between(inside, inside), known, y[rest])
    weights = process.weights()
    shared = shape.between(new, inside, only_shared=True) @ weights
    more = shape.between(new, inside) @ weights - shared
    return shared, more, y[rows] - (known.of_control @ process.solved)[points.context[rows]] - shared


def _through(gate: Gate, axes: Rows, more: Rows) -> Rows:
    return np.asarray((gate.opening * (more @ axes.T)) @ axes, np.float64)
