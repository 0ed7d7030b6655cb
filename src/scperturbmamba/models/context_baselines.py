"""The models of contexts that the core must beat: what a perturbation did elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition

Effect = NDArray[np.float32]


class ContextMean:
    """A condition does what it did on average in the other contexts; one never seen does the mean of the context."""

    def fit(self, data: Bundle) -> Self:
        """Keep the effects of the training conditions, by context."""
        rows = data.training()
        self.effects: dict[Condition, dict[int, Effect]] = {}
        for row in rows:
            self.effects.setdefault(data.conditions[row], {})[int(data.context[row])] = data.delta[row]
        by_context = {context: rows[data.context[rows] == context] for context in range(len(data.contexts))}
        self.all = data.mean_effect(rows)
        self.means = {one: data.mean_effect(some) if len(some) else self.all for one, some in by_context.items()}
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> Effect:
        """Return effects (conditions × genes); the control does nothing."""
        result = np.zeros((len(conditions), len(self.all)), np.float32)
        for row, condition in enumerate(conditions):
            if not condition.is_control:
                result[row] = self._effect(condition, context)
        return result

    def _effect(self, condition: Condition, context: int) -> Effect:
        elsewhere = {one: effect for one, effect in self.effects.get(condition, {}).items() if one != context}
        return self._moved(elsewhere, context) if elsewhere else self.means[context]

    def _moved(self, elsewhere: dict[int, Effect], context: int) -> Effect:
        return np.mean(list(elsewhere.values()), axis=0)


class ContextAdditive(ContextMean):
    """What a condition did elsewhere, plus how far the mean effect of the context is from the mean effects there."""

    def _moved(self, elsewhere: dict[int, Effect], context: int) -> Effect:
        return np.mean([effect - self.means[one] for one, effect in elsewhere.items()], axis=0) + self.means[context]
