"""A profile as a sum of effects with weights that are not negative."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from scperturbmamba.models.inverse.base import Profiles, Scores, Sets, membership
from scperturbmamba.models.inverse.effects import EffectModel

_HALF = 0.5  # of an effect: nearer to all of it than to none


class NonNegative(EffectModel):
    """Explain a profile by shrunken effects, each gene divided by its noise; a weight near 1 says "perturbed".

    Scores are weights less a half; that of a set is the sum over its candidates.
    """

    def set_scores(self, x: Profiles, n_cells: NDArray[np.int64], sets: Sets) -> Scores:
        """Return weights (profiles × sets) less a half for each candidate of the set."""
        scale = np.sqrt(self.effects.cell_variance)
        words = (self.effects.effect / scale).T
        own = (x.astype(np.float64) - self.effects.control) / scale
        weights = np.array([nnls(words, one)[0] for one in own]).reshape(len(x), words.shape[1])
        return (weights - _HALF) @ membership(sets, words.shape[1]).T
