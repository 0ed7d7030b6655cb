"""The models that a network must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition


class NoChange:
    """Every condition looks like the control."""

    def fit(self, data: Bundle) -> Self:
        """Remember how many genes there are."""
        self.n_genes = len(data.genes)
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return zeros (conditions × genes)."""
        return np.zeros((len(conditions), self.n_genes), np.float32)


class TrainingMean:
    """Every condition does what the training conditions do on average; the control does nothing."""

    def fit(self, data: Bundle) -> Self:
        """Average the effects of each context, one vote per condition."""
        rows = data.training()
        overall = data.delta[rows].mean(0)
        own = [rows[data.context[rows] == context] for context in range(len(data.contexts))]
        self.mean = np.stack([data.delta[some].mean(0) if len(some) else overall for some in own])
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return the mean effect (conditions × genes)."""
        treated = np.array([not condition.is_control for condition in conditions], np.float32)
        return treated[:, None] * self.mean[context]


class Additive:
    """Sum the effects of the parts; a part that was never seen alone has no effect."""

    def fit(self, data: Bundle) -> Self:
        """Keep the effect of each part that was perturbed alone, per context."""
        self.n_genes = len(data.genes)
        self.effects = {
            (int(data.context[row]), data.conditions[row].parts[0]): data.delta[row]
            for row in data.training()
            if len(data.conditions[row].parts) == 1
        }
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return sums of effects (conditions × genes)."""
        total = np.zeros((len(conditions), self.n_genes), np.float32)
        for row, condition in enumerate(conditions):
            for part in condition.parts:
                total[row] += self.effects.get((context, part), 0)
        return total
