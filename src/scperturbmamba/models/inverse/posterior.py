"""From scores to probabilities that mean what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from scperturbmamba.models.inverse.base import Scores, Sets

_RIDGE = 0.01  # of the slopes, which one number of cells leaves open
_RELIABLE = 0.5  # share of a measured effect that is no noise: as much signal as noise
_BOUNDS = ((-8.0, 12.0), (-2.0, 2.0), (-20.0, 20.0), (-4.0, 4.0))  # of the four numbers below


@dataclass(frozen=True)
class Posterior:
    """Probabilities of sets of candidates given the scores of a model.

    The score of a set is divided by a temperature exp(a + b log n), n being the cells of the profile, and the control,
    whose score is 0, gets c + d log n. Before a profile is seen, the control is as likely as one candidate, and all
    pairs together are as likely as all singles together.

    Attributes
    ----------
    numbers
        a, b, c, d, chosen on held-out profiles of the training side, and the logarithm of the most cells that one of
        them had: a profile of more counts as one of so many.
    reliability
        (candidates,): share of the measured effect that is no noise.
    thresholds
        (candidates,): a candidate is called where its probability is not below; chosen there too.
    """

    numbers: NDArray[np.float64] = field(default_factory=lambda: np.zeros(5))
    reliability: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    thresholds: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(
        cls, scores: Scores, answer: NDArray[np.int64], n_cells: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> Self:
        """Choose the four numbers by the likelihood of the right answers.

        Parameters
        ----------
        scores
            (profiles × candidates).
        answer
            (profiles,): the right candidate, -1 for the control.
        n_cells, weight
            (profiles,): cells behind each, and how much each counts.
        """
        best, scale = np.zeros(4), np.log(max(float(np.abs(scores).mean()), 1e-6))
        known = np.isfinite(scores).all(1) & (weight > 0)

        def loss(numbers: NDArray[np.float64]) -> float:
            logs = log_softmax(_with_control(scores[known], n_cells[known], numbers), axis=1)
            right = logs[np.arange(len(logs)), answer[known] + 1]
            return float(-np.average(right, weights=weight[known]) + _RIDGE * (numbers[[1, 3]] ** 2).sum())

        starts = [np.array([start, 0.0, 0.0, 0.0]) for start in (0.0, np.clip(scale, -8, 12))]
        if known.any():
            found = [minimize(loss, start, method="L-BFGS-B", bounds=_BOUNDS) for start in starts]
            best = min(found, key=lambda one: float(one.fun)).x
        return cls(np.append(best, np.log(n_cells[known].max(initial=1))))

    def of_sets(self, scores: Scores, sets: Sets, n_cells: NDArray[np.int64]) -> Scores:
        """Return the probability (profiles × sets) of each of the sets that were considered."""
        sizes = np.array([len(one) for one in sets])
        logits = scores / self._temperature(n_cells)[:, None]
        logits[:, sizes == 0] = self._of_control(n_cells)[:, None]
        n_singles = max(int((sizes == 1).sum()), 1)
        prior = np.array([0.0 if size < 2 else np.log(n_singles / (sizes == size).sum()) for size in sizes])
        return np.exp(log_softmax(logits + prior, axis=1))

    @property
    def detectable(self) -> NDArray[np.bool_]:
        """(candidates,): its effect repeats; the others are indistinguishable from the control."""
        return self.reliability >= _RELIABLE

    def extended(self, n: int) -> Posterior:
        """Return this with n more candidates, never measured, that count as detectable."""
        more = np.full(n, float(np.median(self.thresholds))) if len(self.thresholds) else np.full(n, 0.5)
        return Posterior(
            self.numbers, np.concatenate([self.reliability, np.ones(n)]), np.concatenate([self.thresholds, more])
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the numbers as arrays."""
        return {"numbers": self.numbers, "reliability": self.reliability, "thresholds": self.thresholds}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the posterior of these arrays."""
        return cls(*(np.asarray(arrays[name], np.float64) for name in ("numbers", "reliability", "thresholds")))

    def _temperature(self, n_cells: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.exp(self.numbers[0] + self.numbers[1] * self._logs(n_cells))

    def _of_control(self, n_cells: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(self.numbers[2] + self.numbers[3] * self._logs(n_cells))

    def _logs(self, n_cells: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.minimum(np.log(n_cells), self.numbers[4])


def _with_control(scores: Scores, n_cells: NDArray[np.int64], numbers: NDArray[np.float64]) -> Scores:
    """Return logits (profiles × 1 + candidates), the control first."""
    logs = np.log(n_cells)[:, None]
    return np.hstack([numbers[2] + numbers[3] * logs, scores / np.exp(numbers[0] + numbers[1] * logs)])
