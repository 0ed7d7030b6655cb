"""The models of doses that the core must beat: the nearest dose of a drug, a line through its doses, the usual drug."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.models.baselines import OfParts
from scperturbmamba.models.part_effects import PartEffects

Effect = NDArray[np.float32]


class _OfDoses(OfParts):
    """A model that adds up what its parts do at their doses; a part without a dose counts as measured."""

    def _effect(self, condition: Condition, seen: PartEffects, context: int) -> Effect:
        return np.sum([self._of_part(part, seen) for part in condition.parts], axis=0)

    def _of_part(self, part: Part, seen: PartEffects) -> Effect:
        doses = _doses_of(part, seen)
        return self._between(part, doses) if doses else seen.alone.get(part, seen.mean)

    def _between(self, part: Part, doses: dict[float, Effect]) -> Effect:
        raise NotImplementedError


class NearestDose(_OfDoses):
    """A drug does what it did at the nearest dose (on the log scale); a drug never given does the mean."""

    def _between(self, part: Part, doses: dict[float, Effect]) -> Effect:
        given = _log(part)
        return doses[min(doses, key=lambda one: abs(one - given))]


class LogLinearDose(_OfDoses):
    """Effects lie on a line in the log of the dose between two doses that were given, and stay level beyond them."""

    def _between(self, part: Part, doses: dict[float, Effect]) -> Effect:
        at = sorted(doses)
        given = float(np.clip(_log(part), at[0], at[-1]))
        above = min(int(np.searchsorted(at, given)), len(at) - 1)
        below = max(above - 1, 0)
        share = (given - at[below]) / (at[above] - at[below]) if above > below else 1.0
        return np.asarray((1 - share) * doses[at[below]] + share * doses[at[above]], np.float32)


class DoseMean(OfParts):
    """Every drug does what drugs do on average at that share of their highest dose."""

    def fit(self, data: Bundle) -> Self:
        """Keep the effects of the parts, and the highest dose of each drug."""
        super().fit(data)
        self.doses = data.doses
        return self

    def _effect(self, condition: Condition, seen: PartEffects, context: int) -> Effect:
        return np.sum([self._of_part(part, seen) for part in condition.parts], axis=0)

    def _of_part(self, part: Part, seen: PartEffects) -> Effect:
        levels = {one: self._level(one) for one in seen.alone if one.dose is not None}
        if part.dose is None or not levels:
            return seen.alone.get(part, seen.mean)
        given = self._level(part)
        least = min(abs(level - given) for level in levels.values())
        return np.mean([seen.alone[one] for one, level in levels.items() if abs(level - given) < least + 1e-6], axis=0)

    def _level(self, part: Part) -> float:
        return float(np.log(max(self.doses.share(part), 1e-30)))


def _log(part: Part) -> float:
    return float(np.log(part.dose)) if part.dose else 0.0


def _doses_of(part: Part, seen: PartEffects) -> dict[float, Effect]:
    """Return the effects of a drug by the log of the dose."""
    if part.dose is None:
        return {}
    same = [one for one in seen.alone if (one.name, one.kind) == (part.name, part.kind) and one.dose is not None]
    return {_log(one): seen.alone[one] for one in same}
