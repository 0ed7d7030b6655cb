"""Training profiles of the inverse task, made of the training cells.

A profile is the control, plus the effect of whatever was perturbed, plus the noise of n cells. The effects are those
that were measured, drawn to their mean as far as they are noise, and uncertain as far as that leaves open; the noise
is what cells of any condition differ by from the others of their kind. So one, two or no effects make a single, a
pair or a control. The noise of few cells is blended from several: a cell that came back as it is would be learned by
heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.data.statistics import group_means
from scperturbmamba.models.inverse.base import Profiles
from scperturbmamba.models.inverse.drawn import Drawn, Shares, multi_hot
from scperturbmamba.models.inverse.effects import Effects

_BLENDED = 8  # cells of which noise is made at least


@dataclass(frozen=True)
class ProfileDraw:
    """Draws profiles.

    Attributes
    ----------
    control
        (genes,): mean expression of control cells.
    control_doubt
        Standard deviation of the truth around it, in units of the noise of a cell. It is in every effect too: in a
        single it cancels, in a pair and in a control it is left once.
    labels
        (conditions × candidates): what was perturbed in each measured condition, singles first.
    effect, doubt
        (conditions × genes): what is expected of each, and the standard deviation of the truth around it in units of
        the noise of a cell.
    singles
        Number of measured conditions that are one candidate alone.
    noise
        (cells × genes): how each cell differs from the mean of its condition and batch.
    """

    control: NDArray[np.float64]
    control_doubt: float
    labels: NDArray[np.float32]
    effect: NDArray[np.float64]
    doubt: NDArray[np.float64]
    singles: int
    noise: Profiles

    @classmethod
    def of(cls, data: InverseData, effects: Effects) -> Self:
        """Take the effects of the training cells, and their noise.

        Raises
        ------
        ValueError
            No training cell is perturbed.
        """
        train = data.take(~data.is_val)
        alone = np.unique(train.answer[train.answer >= 0])
        several = np.unique(train.condition[train.answer == -2])
        if not len(alone) + len(several):
            msg = "expected perturbed cells among the training cells; found control cells only."
            raise ValueError(msg)
        mean, _, n = group_means(train.x, train.condition, len(train.conditions))
        expected = np.vstack([effects.effect[alone], mean[several] - effects.control])
        variance = np.vstack([effects.doubt[alone], effects.cell_variance / n[several, None]])
        labels = np.vstack([np.eye(len(data.candidates))[alone], multi_hot(train)[several]]).astype(np.float32)
        doubt = np.sqrt(variance / effects.cell_variance)
        control_doubt = float(np.sqrt(np.mean(effects.control_noise / effects.cell_variance)))
        return cls(effects.control, control_doubt, labels, expected, doubt, len(alone), cell_noise(train))

    def draw(self, n: int, shares: Shares, *, random_state: int) -> Drawn:
        """Return ``n`` profiles; the same seed gives the same ones."""
        rng = np.random.default_rng(random_state)
        n_cells = shares.numbers_of_cells(n, rng)
        first, second = self._conditions(n, shares, rng)
        x = self.control + self._noise(n_cells, rng)
        lone = np.flatnonzero((first >= 0) == (second >= 0))
        x[lone] += self.control_doubt * self._noise(np.ones(len(lone), np.int64), rng)
        y = np.zeros((n, self.labels.shape[1]), np.float32)
        for chosen in (first, second):
            rows = np.flatnonzero(chosen >= 0)
            x[rows] += self._effects(chosen[rows], rng)
            y[rows] = np.maximum(y[rows], self.labels[chosen[rows]])
        return Drawn(x.astype(np.float32), y, n_cells)

    def _conditions(self, n: int, shares: Shares, rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
        """Return what was done in each profile, and what else; -1 is nothing. Pairs need two singles."""
        is_double, is_control = shares.kinds(n, rng, doubles=self.singles > 1, controls=True)
        first, second = np.where(is_control, -1, rng.integers(0, len(self.labels), n)), np.full(n, -1)
        double = np.flatnonzero(is_double)
        first[double] = rng.integers(0, max(self.singles, 1), len(double))
        step = rng.integers(1, max(self.singles, 2), len(double))
        second[double] = (first[double] + step) % max(self.singles, 1)
        return first, second

    def _effects(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return effects as they might truly be (profiles × genes)."""
        return self.effect[chosen] + self.doubt[chosen] * self._noise(np.ones(len(chosen), np.int64), rng)

    def _noise(self, n_cells: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the noise of so many cells (profiles × genes)."""
        drawn = np.maximum(n_cells, _BLENDED)
        ends = np.concatenate([[0], np.cumsum(drawn)])
        cells = rng.integers(0, len(self.noise), ends[-1])
        weights = np.repeat(1 / np.sqrt(drawn * n_cells), drawn)
        mean = sp.csr_matrix((weights, cells, ends), shape=(len(drawn), len(self.noise)))
        return np.asarray(mean @ self.noise, np.float64)


def cell_noise(data: InverseData) -> Profiles:
    """Return how cells differ from the mean of their condition and batch, of groups of two or more (cells × genes).

    A mean of few cells lies nearer to them than the truth does; the noise is raised by sqrt(N / (N - 1)).
    """
    _, group = np.unique(np.column_stack([data.condition, data.batch]), axis=0, return_inverse=True)
    group = group.ravel()
    mean, _, n = group_means(data.x, group, int(group.max(initial=0)) + 1)
    several = n[group] > 1
    size = n[group[several]]
    noise = (data.x[several] - mean[group[several]]) * np.sqrt(size / (size - 1))[:, None]
    return np.asarray(noise, np.float32)
