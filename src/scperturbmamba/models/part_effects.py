"""What the parts of conditions did alone in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part

Effect = NDArray[np.float32]


@dataclass(frozen=True)
class PartEffects:
    """Effects of parts that were perturbed alone, and the mean effect, in one context.

    Attributes
    ----------
    alone
        Effect (genes,) of each part that was a training condition of its own; the mean where it was not measured.
    mean
        (genes,): mean effect of the training conditions, one vote each.
    """

    alone: dict[Part, Effect]
    mean: Effect

    @classmethod
    def of(cls, data: Bundle, context: int) -> Self:
        """Read the training rows of a context, or of all contexts where it has none."""
        rows = training_rows(data, context)
        single: dict[Part, list[int]] = {}
        for row in rows:
            if len(data.conditions[row].parts) == 1:
                single.setdefault(data.conditions[row].parts[0], []).append(int(row))
        mean = data.mean_effect(rows)
        alone = {part: data.mean_effect(np.array(some)) for part, some in single.items()}
        if data.weight is not None:
            alone = {part: np.where(data.known[single[part]].any(0), one, mean) for part, one in alone.items()}
        return cls(alone, mean)

    def total(self, condition: Condition) -> Effect:
        """Return the sum over the parts; one that was never seen alone adds nothing."""
        return sum((self.alone[part] for part in condition.parts if part in self.alone), np.zeros_like(self.mean))

    def covers(self, condition: Condition) -> bool:
        """Tell whether every part was seen alone."""
        return all(part in self.alone for part in condition.parts)


def training_rows(data: Bundle, context: int) -> NDArray[np.int64]:
    """Return the training rows of a context, or all where it has none."""
    rows = data.training()
    own = rows[data.context[rows] == context]
    return own if len(own) else rows


def in_every_context(data: Bundle) -> list[PartEffects]:
    """Return the effects of the parts per context."""
    return [PartEffects.of(data, context) for context in range(len(data.contexts))]
