"""What combinations do beyond the sum of their parts, where training combinations tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.gate import Gate, folds_of
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.part_effects import PartEffects

_FEWEST = 20  # training combinations of seen parts below which nothing is learned
_RANK = 20  # numbers in which combinations are compared
_PENALTIES = tuple(float(10.0**power) for power in range(-2, 4))


@dataclass(frozen=True)
class Interaction:
    """A ridge on what is symmetric in the parts: their sum, their product, and what both do in one direction.

    Attributes
    ----------
    axes
        (axes × genes): directions of the effects of parts.
    weights
        (features × axes): of the ridge.
    scale
        (features,): size of every feature among the training combinations.
    gate
        How far each direction is believed, judged on combinations left out.
    n
        Training combinations of seen parts.
    """

    axes: Rows
    weights: Rows
    scale: Rows
    gate: Gate
    n: int

    @classmethod
    def fit(cls, data: Bundle, seen: PartEffects, context: int, rng: np.random.Generator) -> Self:
        """Learn from the training combinations whose parts were all seen alone."""
        rows = [
            row
            for row in data.training()
            if data.context[row] == context
            and len(data.conditions[row].parts) > 1
            and seen.covers(data.conditions[row])
        ]
        width = len(seen.mean)
        if len(rows) < _FEWEST:
            return replace(cls.none(width), n=len(rows))
        alone = np.array(list(seen.alone.values()), np.float64)
        axes = np.linalg.svd(alone, full_matrices=False)[2][:_RANK]
        conditions = [data.conditions[row] for row in rows]
        rest = np.array([data.delta[row] - seen.total(one) for row, one in zip(rows, conditions)], np.float64)
        x, y = _features(conditions, seen, axes), rest @ axes.T
        scale = np.maximum(np.sqrt(np.square(x).mean(0)), 1e-12)
        x = x / scale
        folds = folds_of(len(rows), rng)
        foreseen = np.zeros_like(y)
        for fold in folds:
            inner = np.setdiff1d(np.arange(len(rows)), fold)
            foreseen[fold] = x[fold] @ _ridge(x[inner], y[inner])
        return cls(axes, _ridge(x, y), scale, Gate.fit(foreseen, y, folds, np.ones(len(rows))), len(rows))

    @classmethod
    def none(cls, width: int) -> Self:
        """Return one that says nothing, of so many genes."""
        return cls(np.zeros((0, width)), np.zeros((0, 0)), np.zeros(0), Gate.shut(0), 0)

    def say(self, conditions: Sequence[Condition], seen: PartEffects) -> NDArray[np.float32]:
        """Return what is added to the sums (conditions × genes): 0 unless every part was seen and the gate is open."""
        result = np.zeros((len(conditions), len(seen.mean)), np.float32)
        heard = [row for row, one in enumerate(conditions) if len(one.parts) > 1 and seen.covers(one)]
        if self.gate.is_open and heard:
            x = _features([conditions[row] for row in heard], seen, self.axes) / self.scale
            result[heard] = (self.gate.opening * (x @ self.weights)) @ self.axes
        return result

    def words(self) -> str:
        """Return whether combinations are more than sums, empty where there are too few to tell."""
        if self.n < _FEWEST:
            return ""
        told = f"{self.gate.words()} of what {self.n} training combinations do beyond their sums"
        return f"an interaction is {'on' if self.gate.is_open else 'off'}: it explains {told}"

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        arrays = {"axes": self.axes, "weights": self.weights, "scale": self.scale}
        return {"gate": self.gate.state(), "n": self.n}, arrays

    @classmethod
    def from_state(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        gate = Gate.from_state(words["gate"])
        return cls(arrays["axes"], arrays["weights"], arrays["scale"], gate, words["n"])


def _features(conditions: Sequence[Condition], seen: PartEffects, axes: Rows) -> Rows:
    """Return the sum, the summed products of pairs, and the lesser share where parts agree (conditions × features)."""
    rows = []
    for condition in conditions:
        z = np.array([seen.alone[part] for part in condition.parts], np.float64) @ axes.T
        total = z.sum(0)
        product = (np.square(total) - np.square(z).sum(0)) / 2
        agree = np.abs(z).min(0) * np.where((z > 0).all(0), 1.0, np.where((z < 0).all(0), -1.0, 0.0))
        rows.append(np.concatenate([total, product, agree]))
    return np.array(rows)


def _ridge(x: Rows, y: Rows) -> Rows:
    """Return ridge weights (features × axes), the penalty chosen by exact leave-one-out."""
    left, scale, right = np.linalg.svd(x, full_matrices=False)
    best, found = np.inf, np.zeros((x.shape[1], y.shape[1]))
    for penalty in _PENALTIES:
        kept = np.square(scale) / (np.square(scale) + penalty * len(x))
        own = (np.square(left) @ kept)[:, None]
        error = float(np.square((y - (left * kept) @ (left.T @ y)) / np.maximum(1 - own, 1e-6)).sum())
        if error < best:
            inner = np.divide(kept, scale, out=np.zeros_like(scale), where=scale > 0)
            best, found = error, (right.T * inner) @ (left.T @ y)
    return np.asarray(found, np.float64)
