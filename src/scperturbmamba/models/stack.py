"""Choose and weigh members by what they say of rows that they have not seen, and only if that helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from scperturbmamba.models.gate import Gate, Vector, mean_and_error
from scperturbmamba.models.kernels import Kernel, Member, Rows, members

_FOLDS, _FEW_FOLDS, _MANY_ROWS = 5, 3, 800
FEWEST = 8  # rows below which nothing is learned


@dataclass(frozen=True)
class Stack:
    """Members with weights, behind a gate.

    Attributes
    ----------
    members, weights
        Who speaks, and how loud, before the gate.
    gate
        How far each output is believed, judged on rows that had no part in choosing, weighing or fitting.
    foreseen
        (rows × outputs): what was said of every row by members that had not seen it, before the gate.
    """

    members: tuple[Member, ...]
    weights: tuple[float, ...]
    gate: Gate
    foreseen: Rows = field(repr=False)

    @classmethod
    def fit(cls, kernels: Sequence[Kernel], y: Rows, trust: Vector, rng: np.random.Generator) -> Self:
        """Learn from kernels of the rows and effects minus their mean (rows × outputs); ``trust`` weighs the rows."""
        n = len(y)
        if n < FEWEST or not kernels:
            return cls((), (), Gate.shut(y.shape[1]), np.zeros_like(y))
        foreseen, folds = np.zeros_like(y), folds_of(n, rng)
        for fold in folds:
            rest = np.setdiff1d(np.arange(n), fold)
            inner, left = [one.take(rest) for one in kernels], [one.take(fold) for one in kernels]
            foreseen[fold] = _weighed(*_choose(inner, y[rest], trust[rest]), inner, left, y[rest])
        gate = Gate.fit(foreseen, y, folds, trust)
        chosen, weights = _choose(kernels, y, trust)
        return cls(tuple(chosen), tuple(weights), gate if chosen else Gate.shut(y.shape[1]), foreseen)

    @property
    def is_open(self) -> bool:
        """Whether the stack says anything."""
        return self.gate.is_open

    def predict(self, kernels: Sequence[Kernel], new: Sequence[Kernel], y: Rows) -> Rows:
        """Return new rows, gated; 0, the mean, where the gate is shut."""
        if not self.is_open:
            return np.zeros((len(new[0].vectors) if new else 0, y.shape[1]))
        return self.gate.opening * _weighed(self.members, self.weights, kernels, new, y)

    def left_out(self, kernels: Sequence[Kernel], y: Rows) -> Rows:
        """Return what the gated members say of every training row without it, exactly."""
        found = np.zeros_like(y)
        for member, weight in zip(self.members, self.weights):
            found += weight * member.left_out(kernels[member.kernel], y)
        return self.gate.opening * found

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold; ``foreseen`` is left out."""
        chosen = [asdict(one) for one in self.members]
        return {"members": chosen, "weights": list(self.weights), "gate": self.gate.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the stack of a state."""
        gate = Gate.from_state(state["gate"])
        chosen = tuple(Member(**one) for one in state["members"])
        return cls(chosen, tuple(state["weights"]), gate, np.zeros((0, len(gate.opening))))


def folds_of(n: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return folds of n rows at random: five, or three where there are many rows."""
    return np.array_split(rng.permutation(n), _FEW_FOLDS if n > _MANY_ROWS else _FOLDS)


def _weighed(
    chosen: Sequence[Member], weights: Sequence[float], kernels: Sequence[Kernel], new: Sequence[Kernel], y: Rows
) -> Rows:
    result = np.zeros((len(new[0].vectors), y.shape[1]))
    for member, weight in zip(chosen, weights):
        result += weight * member.predict(kernels[member.kernel], new[member.kernel], y)
    return result


def _choose(kernels: Sequence[Kernel], y: Rows, trust: Vector) -> tuple[list[Member], list[float]]:
    """Take in kernels one after the other, the best first, while each gains more than one standard error.

    A kernel comes with its best ridge and its best number of neighbours, by leave-one-out; weights are not negative.
    """
    best, said = _best_settings(kernels, y, trust)
    root = np.sqrt(trust)[:, None]
    columns = np.stack([(root * one).ravel() for one in said], axis=1)
    gram, product = columns.T @ columns, columns.T @ (root * y).ravel()
    scale = float(np.average(np.square(y).sum(1), weights=trust)) or 1.0
    taken: list[int] = []
    weights, errors = np.zeros(0), np.square(y).sum(1)
    while len(taken) < len(best):
        tried = {}
        for kernel in sorted({best[column].kernel for column in range(len(best)) if column not in taken}):
            tried_columns = [*taken, *(column for column in range(len(best)) if best[column].kernel == kernel)]
            found = _not_negative(gram, product, tried_columns)
            tried[kernel] = (tried_columns, found, np.square(y - _sum_of(said, tried_columns, found)).sum(1))
        columns_, found, left = min(tried.values(), key=lambda one: float(trust @ one[2]))
        mean, error = mean_and_error((errors - left) / scale, trust)
        if not mean > error:
            break
        taken, weights, errors = columns_, found, left
    kept = [(best[column], float(weight)) for column, weight in zip(taken, weights) if weight > 0]
    return [member for member, _ in kept], [weight for _, weight in kept]


def _best_settings(kernels: Sequence[Kernel], y: Rows, trust: Vector) -> tuple[list[Member], list[Rows]]:
    best, said = [], []
    for options in members(len(kernels), len(y)):
        left_out = [option.left_out(kernels[option.kernel], y) for option in options]
        errors = [float((trust * np.square(y - one).sum(1)).sum()) for one in left_out]
        best.append(options[int(np.argmin(errors))])
        said.append(left_out[int(np.argmin(errors))])
    return best, said


def _not_negative(gram: Rows, product: Vector, columns: Sequence[int]) -> Vector:
    """Return the weights of some columns that fit best and are not negative, from their products."""
    some = np.array(columns)
    weights, _ = nnls(gram[np.ix_(some, some)], product[some])
    return np.asarray(weights, np.float64)


def _sum_of(said: Sequence[Rows], columns: Sequence[int], weights: Vector) -> Rows:
    return np.asarray(sum(weight * said[column] for column, weight in zip(columns, weights)), np.float64)
