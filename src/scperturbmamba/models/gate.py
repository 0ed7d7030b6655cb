"""How far a prediction is to be believed, judged on rows that had no part in making it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Vector = NDArray[np.float64]
_FOLDS, _FEW_FOLDS, _MANY = 5, 3, 800
_SURE = 2.5  # standard errors by which what was measured must follow what was foreseen


@dataclass(frozen=True)
class Gate:
    """How far each component of a prediction is opened, and what that gains.

    Attributes
    ----------
    opening
        (components,): from 0 to 1; all 0 where the gate is shut.
    gain, error
        Share of the squares that the gated prediction takes away, averaged over rows left out of it and of the
        opening, and its standard error.
    score
        The same share for the prediction as it is, ungated: what a shut gate must not hide.
    gains
        (observations,): the share that was taken away in each, over the mean square; for paired comparisons.
    """

    opening: Vector
    gain: float = 0.0
    error: float = 0.0
    score: float = 0.0
    gains: Vector = field(default_factory=lambda: np.zeros(0), repr=False)

    @property
    def is_open(self) -> bool:
        """Whether anything passes."""
        return bool(self.opening.any())

    @classmethod
    def shut(cls, n_components: int) -> Self:
        """Return a gate that nothing passes, of which nothing is known."""
        return cls(np.zeros(n_components))

    @classmethod
    def fit(
        cls,
        foreseen: Rows,
        truth: Rows,
        folds: Sequence[NDArray[np.integer]],
        trust: Vector,
        *,
        widths: Sequence[int] | None = None,
        together: NDArray[np.integer] | None = None,
    ) -> Self:
        """Judge what was foreseen (rows × numbers) by the truth; what is in one fold was left out together.

        A component is one number, or as many neighbouring ones as ``widths`` says. Rows of the same number in
        ``together`` are one observation, which folds then count: several doses of a drug tell hardly more than one.

        The gate is shut where the slope of the truth on the prediction is not 2.5 standard errors above 0, or where
        the gain, with the opening of every fold learned on the other folds, is not above one standard error.
        """
        scale = float(np.average(np.square(truth).sum(1), weights=trust)) or 1.0
        starts = np.concatenate([[0], np.cumsum(widths)[:-1]]) if widths is not None else np.arange(truth.shape[1])
        product, square = (
            np.add.reduceat(trust[:, None] * foreseen * other, starts, axis=1) for other in (truth, foreseen)
        )
        if together is not None:
            product, square, trust = (_sums(one, together) for one in (product, square, trust))
        gains = np.zeros(len(product))
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(product)), fold)
            opening = _opening(product[rest], square[rest])
            gains[fold] = ((2 * product[fold] - opening * square[fold]) @ opening) / trust[fold]
        mean, error = mean_and_error(gains / scale, trust)
        score = mean_and_error((2 * product - square).sum(1) / trust / scale, trust)[0]
        opening = _opening(product, square) if mean > error else np.zeros(len(starts))
        return cls(opening, mean, error, score, gains / scale)

    def words(self) -> str:
        """Return the expected gain with its standard error."""
        return f"{self.gain:+.1%} ± {self.error:.1%}"

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"opening": self.opening.tolist(), "gain": self.gain, "error": self.error, "score": self.score}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the gate of a state."""
        return cls(np.array(state["opening"], np.float64), state["gain"], state["error"], state["score"])


def folds_of(n: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return folds of n observations at random: five, or three where there are many."""
    return np.array_split(rng.permutation(n), _FEW_FOLDS if n > _MANY else _FOLDS)


def mean_and_error(gains: Vector, trust: Vector) -> tuple[float, float]:
    """Return the weighted mean over rows, and its standard error."""
    weight = trust / trust.sum()
    mean = float(weight @ gains)
    return mean, float(np.sqrt(np.square(weight * (gains - mean)).sum()))


def _sums(rows: NDArray[np.float64], together: NDArray[np.integer]) -> NDArray[np.float64]:
    """Add up the rows of every number."""
    found = np.zeros((int(together.max(initial=-1)) + 1, *rows.shape[1:]))
    np.add.at(found, together, rows)
    return found


def _opening(product: Rows, square: Rows) -> Vector:
    """Return the slopes of truth on prediction, each drawn to the common one as far as it is noise, from 0 to 1.

    They come from the products of truth and prediction and the squares of the prediction (rows × components).
    """
    common, error = _slope(product.sum(1, keepdims=True), square.sum(1, keepdims=True))
    if not common[0] > _SURE * error[0]:
        return np.zeros(product.shape[1])
    common *= 1 - np.square(error / common)
    slope, error = _slope(product, square)
    heard = np.isfinite(error) & (error > 0)
    if heard.sum() < 2:
        return np.full(product.shape[1], min(float(common[0]), 1.0))
    noise, apart = np.square(error[heard]), np.square(slope[heard] - common)
    spread = max(float(np.average(apart - noise, weights=1 / noise)), 0.0)
    own = np.zeros_like(slope)
    own[heard] = spread / (spread + noise)
    drawn = np.where(heard, own * np.where(heard, slope, 0) + (1 - own) * common, common)
    return np.asarray(np.clip(drawn, 0, 1), np.float64)


def _slope(product: Rows, square: Rows) -> tuple[Vector, Vector]:
    """Return the slope of every column and its standard error over rows; no error where nothing was foreseen."""
    total = square.sum(0)
    said = total > 0
    slope = np.divide(product.sum(0), total, out=np.zeros_like(total), where=said)
    spread = np.sqrt(np.square(product - slope * square).sum(0))
    return slope, np.divide(spread, total, out=np.full_like(total, np.nan), where=said)
