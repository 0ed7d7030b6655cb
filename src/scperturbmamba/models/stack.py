"""Choose and weigh members by what they say of rows that they have not seen, and only if that helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from scperturbmamba.models.kernels import Member, Rows, members

_FOLDS, _FEW_FOLDS, _MANY_ROWS = 5, 3, 800
_FEWEST = 8  # rows below which nothing is learned
_SURE = 2.0  # standard errors by which the slope of measured on foreseen effects must be above 0


@dataclass(frozen=True)
class Stack:
    """Members with weights, and what they gain on rows left out of everything.

    Attributes
    ----------
    members, weights
        Who speaks, and how loud; none where the gate is closed.
    gain, error
        Share of the squared effects that is explained on rows left out of choosing, weighing and fitting, averaged
        over rows, and its standard error.
    is_open
        Whether the gain is larger than its standard error.
    """

    members: tuple[Member, ...]
    weights: tuple[float, ...]
    gain: float
    error: float
    is_open: bool

    @classmethod
    def fit(cls, kernels: Sequence[Rows], y: Rows, trust: NDArray[np.float64], rng: np.random.Generator) -> Self:
        """Learn from kernels (each rows × rows) and effects minus their mean (rows × outputs).

        ``trust`` weighs the rows. The gate looks at folds that had no part in choosing, weighing or fitting: it is
        shut where the mean gain over 0, that is over the mean effect, is not above one standard error, or the slope
        of what was measured on what was foreseen not above two.
        """
        n = len(y)
        if n < _FEWEST or not kernels:
            return cls((), (), 0.0, 0.0, False)
        foreseen = np.zeros_like(y)
        folds = np.array_split(rng.permutation(n), _FEW_FOLDS if n > _MANY_ROWS else _FOLDS)
        for fold in folds:
            rest = np.setdiff1d(np.arange(n), fold)
            inner = [kernel[np.ix_(rest, rest)] for kernel in kernels]
            chosen, weights = _choose(inner, y[rest], trust[rest])
            for member, weight in zip(chosen, weights):
                kernel = kernels[member.kernel]
                foreseen[fold] += weight * member.predict(inner[member.kernel], kernel[np.ix_(fold, rest)], y[rest])
        amplitude = _amplitude(foreseen, y, trust)
        gains = (np.square(y) - np.square(y - amplitude * foreseen)).sum(1)
        scale = float(np.average(np.square(y).sum(1), weights=trust))
        mean, error = _mean_and_error(gains, trust)
        chosen, weights = _choose(kernels, y, trust)
        is_open = bool(mean > error and chosen)
        kept = (tuple(chosen), tuple(amplitude * one for one in weights)) if is_open else ((), ())
        return cls(*kept, mean / scale, error / scale, is_open)

    def predict(self, kernels: Sequence[Rows], across: Sequence[Rows], y: Rows) -> Rows:
        """Return new rows from their kernels with the training rows; 0, the mean, where the gate is shut."""
        result = np.zeros((len(across[0]) if across else 0, y.shape[1]))
        for member, weight in zip(self.members, self.weights):
            result += weight * member.predict(kernels[member.kernel], across[member.kernel], y)
        return result


def _choose(kernels: Sequence[Rows], y: Rows, trust: NDArray[np.float64]) -> tuple[list[Member], list[float]]:
    """Return the best setting of every kernel and kind by leave-one-out, and weights that are not negative."""
    best, columns = [], []
    for options in members(len(kernels), len(y)):
        said = [option.left_out(kernels[option.kernel], y) for option in options]
        errors = [float((trust * np.square(y - one).sum(1)).sum()) for one in said]
        best.append(options[int(np.argmin(errors))])
        columns.append(said[int(np.argmin(errors))])
    root = np.sqrt(trust)[:, None]
    design = np.column_stack([(root * one).ravel() for one in columns])
    weights, _ = nnls(design.T @ design, design.T @ (root * y).ravel())
    kept = [number for number, weight in enumerate(weights) if weight > 0]
    return [best[number] for number in kept], [float(weights[number]) for number in kept]


def _amplitude(foreseen: Rows, y: Rows, trust: NDArray[np.float64]) -> float:
    """Return the slope of what was measured on what was foreseen, from 0 to 1, drawn to 0 as far as it is noise."""
    product, square = (trust * (foreseen * y).sum(1)), (trust * np.square(foreseen).sum(1))
    if not square.sum() > 0:
        return 0.0
    slope = product.sum() / square.sum()
    spread = np.sqrt(np.square(product - slope * square).sum()) / square.sum()
    z = slope / spread if spread > 0 else np.inf
    return float(min(slope, 1) * (1 - 1 / z**2)) if z > _SURE else 0.0


def _mean_and_error(gains: NDArray[np.float64], trust: NDArray[np.float64]) -> tuple[float, float]:
    weight = trust / trust.sum()
    mean = float(weight @ gains)
    return mean, float(np.sqrt(np.square(weight * (gains - mean)).sum()))
