"""The likelihood of a profile under each set of perturbations, whose effects add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.inverse.base import Profiles, Scores, Sets
from scperturbmamba.models.inverse.effects import EffectModel

_AT_ONCE = 2_000_000  # sets × genes in memory


class Dictionary(EffectModel):
    """Compare a profile with the control plus the sum of shrunken effects, each gene weighed by its noise.

    The noise of a gene is that of the mean of so many cells, and the doubt about the effects themselves. A score is a
    difference of log-likelihoods, that of the set less that of the control.
    """

    def set_scores(self, x: Profiles, n_cells: NDArray[np.int64], sets: Sets) -> Scores:
        """Return log-likelihood ratios (profiles × sets) against the control."""
        profile = x.astype(np.float64) - self.effects.control
        result = np.empty((len(x), len(sets)))
        for n in np.unique(n_cells):
            rows = n_cells == n
            nothing = self._likelihood(profile[rows], int(n), [()])
            result[rows] = self._likelihood(profile[rows], int(n), sets) - nothing
        return result

    def _likelihood(self, profile: NDArray[np.float64], n: int, sets: Sets) -> Scores:
        """Return log-likelihoods of profiles of n cells each, but for a constant, some sets at a time."""
        step = max(1, _AT_ONCE // max(profile.shape[1], 1))
        parts = [self._of_some(profile, n, sets[start : start + step]) for start in range(0, len(sets), step)]
        return np.concatenate(parts, axis=1)

    def _of_some(self, profile: NDArray[np.float64], n: int, sets: Sets) -> Scores:
        effect, doubt = self.effects.of_sets(sets)
        variance = self.effects.cell_variance / n + doubt
        weight = 1 / variance
        square = np.square(profile) @ weight.T - 2 * profile @ (weight * effect).T
        fixed = (weight * np.square(effect)).sum(1) + np.log(variance).sum(1)
        return -0.5 * (square + fixed)
