"""What one score gains over another on entries left out, and how sure that is, paired over perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.metrics._auc import shared_places

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class Gain:
    """A gain on perturbations left out.

    Attributes
    ----------
    mean, error
        Gain and its standard error over perturbations: of the area under the curve per readout gene for calls, as a
        share of the squares about the base rates for effects.
    are_calls
        Which of the two.
    """

    mean: float
    error: float
    are_calls: bool

    @classmethod
    def of_calls(
        cls, group: NDArray[np.int64], perturbation: NDArray[np.int64], called: Scores, new: Scores, old: Scores
    ) -> Self:
        """Compare the areas under the curve, averaged over groups with both labels.

        ``group`` (entries,) tells the entries that are ranked against each other: one gene, one fold.
        """
        _, group = np.unique(group, return_inverse=True)
        areas, shares = zip(*(_areas(group, called, score) for score in (new, old)))
        valid = np.isfinite(areas[0])
        if not valid.any():
            return cls(0.0, np.inf, True)
        share = np.where(valid[group], shares[0] - shares[1], 0.0) / valid.sum()
        per_perturbation = np.bincount(perturbation, share)
        difference = (areas[0] - areas[1])[valid].mean()
        return cls(float(difference), float(np.sqrt(np.square(per_perturbation).sum())), True)

    @classmethod
    def of_effects(
        cls, perturbation: NDArray[np.int64], target: Scores, weight: Scores, new: Scores, old: Scores
    ) -> Self:
        """Compare the squared errors, as a share of the squared targets."""
        gain = weight * (np.square(target - old) - np.square(target - new))
        square = np.bincount(perturbation, weight * np.square(target)).sum()
        per_perturbation = np.bincount(perturbation, gain)
        per_perturbation = per_perturbation[np.bincount(perturbation) > 0]
        spread = per_perturbation.std() * np.sqrt(len(per_perturbation))
        return cls(float(per_perturbation.sum() / square), float(spread / square), False)

    @property
    def is_sure(self) -> bool:
        """Whether the gain is above its standard error."""
        return self.mean > self.error

    def words(self) -> str:
        """Return the gain in words."""
        if not np.isfinite(self.error):
            return "no gain can be measured, as no readout gene has both labels"
        if self.are_calls:
            return f"{self.mean:+.3f} ± {self.error:.3f} in the area under the curve per gene"
        return f"{self.mean:+.1%} ± {self.error:.1%} of the squared effect"


def _areas(group: NDArray[np.int64], called: Scores, score: Scores) -> tuple[Scores, Scores]:
    """Return the area per group, NaN without both labels, and how far each entry moves that of its group.

    The share of an entry is that of the delta method: how its place among the other label differs from the area, over
    the entries of its label; they sum to zero within a group.
    """
    place = np.empty(len(score))
    within = np.empty(len(score))
    for target, key in ((place, group), (within, 2 * group + (called > 0))):
        order = np.lexsort((score, key))
        first = np.searchsorted(key[order], key[order])
        target[order] = shared_places(key[order], score[order].astype(np.float64)) - first
    n, n_true = np.bincount(group), np.bincount(group, called)
    own = np.where(called > 0, n_true[group], (n - n_true)[group])
    other = n[group] - own
    beaten = np.divide(place - within, other, out=np.full(len(score), np.nan), where=other > 0)
    right = np.where(called > 0, beaten, 1 - beaten)
    total = np.bincount(group, np.where(called > 0, right, 0.0))
    area = np.divide(total, n_true, out=np.full(len(n), np.nan), where=n_true > 0)
    return area, np.nan_to_num((right - area[group]) / own)
