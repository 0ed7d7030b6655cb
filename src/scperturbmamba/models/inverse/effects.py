"""What each candidate does alone: measured, drawn to the mean as far as it is noise, and how sure that is."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.data.statistics import group_means
from scperturbmamba.data.units import half_effects
from scperturbmamba.models.checkpoint import Checkpoint
from scperturbmamba.models.inverse.base import Profiles, Scores, Sets, membership
from scperturbmamba.models.shrinkage import Prior

_ADDED = 0.3  # of the mean variance: logs of few counts are no normal numbers, a gene hardly ever seen is no proof
_DRAWS = 10  # halves of the cells


@dataclass(frozen=True)
class Effects:
    """Effects of the candidates against the control, in the scale of X.

    Attributes
    ----------
    control
        (genes,): mean expression of the control cells.
    control_noise
        (genes,): sampling variance of that mean.
    cell_variance
        (genes,): variance between cells of one condition, and a share of the mean of all genes.
    measured
        (candidates × genes): mean of the treated cells minus that of the control.
    effect
        (candidates × genes): the same, drawn to the mean of the candidates as far as it is noise (empirical Bayes).
    doubt
        (candidates × genes): variance of the true effect around it.
    spread
        (genes,): variance of true effects between candidates; the doubt of one that was never measured.
    """

    control: NDArray[np.float64]
    control_noise: NDArray[np.float64]
    cell_variance: NDArray[np.float64]
    measured: NDArray[np.float64]
    effect: NDArray[np.float64]
    doubt: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, data: InverseData) -> Self:
        """Learn from the training cells that carry one candidate or none."""
        answer = np.where(data.is_val, -2, data.answer)
        n_candidates = len(data.candidates)
        mean, error, n = group_means(data.x, answer + 1, n_candidates + 1)  # -2 becomes -1: left out
        between = np.square(error) * n[:, None]  # variance of one cell
        degrees = np.maximum(n - 1.0, 0)[:, None]
        pooled = (degrees * np.nan_to_num(between)).sum(0) / max(degrees.sum(), 1.0)
        pooled = pooled + max(_ADDED * float(pooled.mean()), 1e-12)
        measured = mean[1:] - mean[0]
        noise = pooled / n[1:, None]
        prior = Prior.of(measured, noise)
        doubt = prior.variance * noise / (prior.variance + noise)
        effect = prior.shrink(measured, noise)
        return cls(mean[0], pooled / n[0], pooled, measured, effect, doubt, prior.variance)

    def of_sets(self, sets: Sets) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the effect (sets × genes) of each set, and its variance.

        The noise of the control is in every effect; in the effect of one it cancels against that of the profile, in
        that of none and in a sum of two it is left once.
        """
        inside = membership(sets, len(self.effect))
        lone = np.abs(inside.sum(1) - 1)[:, None]
        return inside @ self.effect, inside @ self.doubt + lone * self.control_noise

    def extended(self, effects: NDArray[np.floating]) -> Self:
        """Return these and effects (more candidates × genes) that were predicted and never measured."""
        more = np.asarray(effects, dtype=np.float64)
        return replace(
            self,
            measured=np.vstack([self.measured, more]),
            effect=np.vstack([self.effect, more]),
            doubt=np.vstack([self.doubt, np.broadcast_to(self.spread, more.shape)]),
        )


class EffectModel:
    """A model that compares profiles with effects.

    Attributes
    ----------
    effects
        What it learned.
    """

    effects: Effects

    def fit(self, data: InverseData) -> Self:
        """Learn from the training cells."""
        self.effects = Effects.of(data)
        return self

    def with_effects(self, effects: NDArray[np.floating]) -> Self:
        """Return this model with more candidates (rows of effects, × genes) behind those it has."""
        model = type(self)()
        model.effects = self.effects.extended(effects)
        return model

    def scores(self, x: Profiles, n_cells: NDArray[np.int64]) -> Scores:
        """Return a score (profiles × candidates) against the control."""
        return self.set_scores(x, n_cells, [(one,) for one in range(len(self.effects.effect))])

    def set_scores(self, x: Profiles, n_cells: NDArray[np.int64], sets: Sets) -> Scores:
        """Return a score (profiles × sets) against the control."""
        raise NotImplementedError

    def state(self) -> Checkpoint:
        """Return the effects as arrays."""
        arrays = {one.name: getattr(self.effects, one.name).astype(np.float32) for one in fields(Effects)}
        return Checkpoint(json.dumps({}), arrays)

    @classmethod
    def from_state(cls, state: Checkpoint) -> Self:
        """Return the model of these effects."""
        model = cls()
        model.effects = Effects(**{name: np.asarray(one, np.float64) for name, one in state.arrays.items()})
        return model


def reliability(data: InverseData, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (candidates,): the share of an effect that is no noise, from -1 to 1.

    It is the correlation of the effects of two halves of the training cells, averaged over random halves and corrected
    for their size (Spearman and Brown): at 0.5, signal and noise are equal. Each half has control cells of its own, so
    that shared noise does not pass for an effect.
    """
    answer = np.where(data.is_val, -2, data.answer)
    found = []
    for _ in range(_DRAWS):
        one, other = half_effects(data.x, answer + 1, 0, rng)
        found.append([_correlation(a, b) for a, b in zip(one[1:], other[1:])])
    r = np.clip(np.mean(found, axis=0), -0.5, 1)
    return np.asarray(2 * r / (1 + r), dtype=np.float64)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
