"""Profiles of any number of cells on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.inverse.base import Profiles
from scperturbmamba.models.inverse.effects import Effects

_LEAST_SIGNAL = 1e-3


@dataclass(frozen=True)
class ProfileScale:
    """Measures a profile from the control mean, in spreads that are usual for as many cells.

    A mean of n cells has 1/n of the variance of a cell, and what a perturbation does on top of it; a profile is divided
    by the root of both, so that single cells and large groups are numbers of one size.

    Attributes
    ----------
    centre
        (genes,): mean of the training control cells, scale of X.
    spread
        (genes,): standard deviation between training cells of one condition, scale of X.
    signal
        Mean square of the effects of training conditions, in squared spreads.
    """

    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    signal: float

    @classmethod
    def of(cls, effects: Effects) -> Self:
        """Return the scale of a screen with these effects; a candidate without cells has none."""
        squares = np.square(effects.effect) / effects.cell_variance
        signal = float(np.nanmean(squares)) if np.isfinite(squares).any() else 0.0
        spread = np.sqrt(effects.cell_variance)
        return cls(effects.control.astype(np.float32), spread.astype(np.float32), max(signal, _LEAST_SIGNAL))

    def apply(self, x: Profiles, n_cells: NDArray[np.int64]) -> Profiles:
        """Return standardised profiles (b × genes)."""
        usual = np.sqrt(1 / np.asarray(n_cells, np.float64) + self.signal)[:, None]
        return np.asarray((x - self.centre) / self.spread / usual, np.float32)
