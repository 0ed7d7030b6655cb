"""The models without features that a network must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.part_effects import PartEffects, in_every_context, training_rows


class NoChange:
    """Every condition looks like the control."""

    def fit(self, data: Bundle) -> Self:
        """Remember how many genes there are."""
        self.n_genes = len(data.genes)
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return zeros (conditions × genes)."""
        return np.zeros((len(conditions), self.n_genes), np.float32)


class OfParts:
    """A model that needs no more than what parts did alone, and the mean."""

    def fit(self, data: Bundle) -> Self:
        """Keep the effects of the parts, per context."""
        self.effects = in_every_context(data)
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return effects (conditions × genes); the control does nothing."""
        seen = self.effects[context]
        result = np.zeros((len(conditions), len(seen.mean)), np.float32)
        for row, condition in enumerate(conditions):
            if not condition.is_control:
                result[row] = self._effect(condition, seen, context)
        return result

    def _effect(self, condition: Condition, seen: PartEffects, context: int) -> NDArray[np.float32]:
        raise NotImplementedError


class TrainingMean(OfParts):
    """Every condition does what the training conditions do on average (the "perturbed mean")."""

    def _effect(self, condition: Condition, seen: PartEffects, context: int) -> NDArray[np.float32]:
        return seen.mean


class MatchingMean(OfParts):
    """Average the effects of the parts; a part that was never seen alone has the mean effect (Systema, 2025)."""

    def _effect(self, condition: Condition, seen: PartEffects, context: int) -> NDArray[np.float32]:
        return np.mean([seen.alone.get(part, seen.mean) for part in condition.parts], axis=0)


class Additive(OfParts):
    """Sum the effects of the parts; a part that was never seen alone has no effect."""

    def _effect(self, condition: Condition, seen: PartEffects, context: int) -> NDArray[np.float32]:
        return seen.total(condition)


class ScaledAdditive(OfParts):
    """Sum the effects of the parts times a coefficient, least squares over training combinations of seen parts.

    Single conditions are not scaled; without a training combination the coefficient is 1.
    """

    def fit(self, data: Bundle) -> Self:
        """Keep the effects of the parts, and learn the coefficient of each context."""
        super().fit(data)
        self.coefficient = [_coefficient(data, seen, context) for context, seen in enumerate(self.effects)]
        return self

    def _effect(self, condition: Condition, seen: PartEffects, context: int) -> NDArray[np.float32]:
        factor = self.coefficient[context] if len(condition.parts) > 1 else 1.0
        return factor * seen.total(condition)


def _coefficient(data: Bundle, seen: PartEffects, context: int) -> float:
    product = square = 0.0
    for row in training_rows(data, context):
        condition = data.conditions[row]
        if len(condition.parts) > 1 and seen.covers(condition):
            known = data.known[row]
            total = seen.total(condition)[known].astype(np.float64)
            product += float(total @ data.delta[row][known])
            square += float(total @ total)
    return product / square if square > 0 else 1.0
