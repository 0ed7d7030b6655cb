"""The perturbation whose mean effect points the same way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.inverse.base import Profiles, Scores, Sets, membership
from scperturbmamba.models.inverse.effects import EffectModel


class NearestCentroid(EffectModel):
    """Compare a profile with the measured mean effects by cosine, what all perturbations share taken away.

    The effect of a set is the sum of those of its candidates. Scores are cosines, from -1 to 1.
    """

    def set_scores(self, x: Profiles, n_cells: NDArray[np.int64], sets: Sets) -> Scores:
        """Return cosines (profiles × sets)."""
        shared = self.effects.measured.mean(0)
        inside = membership(sets, len(self.effects.measured))
        effect = inside @ self.effects.measured
        own = x.astype(np.float64) - self.effects.control
        return _unit(own - shared) @ _unit(effect - shared).T


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.sqrt(np.square(rows).sum(1, keepdims=True))
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
