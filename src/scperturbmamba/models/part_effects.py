"""What the parts of conditions did alone in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

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

    def sums(self, conditions: Sequence[Condition], guessed: Mapping[Part, NDArray[np.floating]]) -> Effect:
        """Return sums over the parts (conditions × genes), of those never seen alone with what is guessed of them."""
        result = np.zeros((len(conditions), len(self.mean)), np.float32)
        for row, condition in enumerate(conditions):
            for part in condition.parts:
                result[row] += self.alone[part] if part in self.alone else guessed[part]
        return result

    def new_parts(self, conditions: Sequence[Condition]) -> list[Part]:
        """Return the parts that were never seen alone, sorted."""
        return sorted({part for one in conditions for part in one.parts if part not in self.alone})

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words that JSON can hold, and arrays."""
        alone = np.array(list(self.alone.values()), np.float32).reshape(len(self.alone), len(self.mean))
        return {"parts": parts_state(self.alone)}, {"alone": alone, "mean": self.mean}

    @classmethod
    def from_state(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        return cls(dict(zip(parts_of_state(words["parts"]), arrays["alone"])), arrays["mean"])

    def covers(self, condition: Condition) -> bool:
        """Tell whether every part was seen alone."""
        return all(part in self.alone for part in condition.parts)


def parts_state(parts: Iterable[Part]) -> list[list[Any]]:
    """Return parts as JSON can hold them."""
    return [[part.name, part.kind, part.dose] for part in parts]


def parts_of_state(state: Iterable[Sequence[Any]]) -> list[Part]:
    """Return the parts of a state."""
    return [Part(name, kind, dose) for name, kind, dose in state]


def training_rows(data: Bundle, context: int) -> NDArray[np.int64]:
    """Return the training rows of a context, or all where it has none."""
    rows = data.training()
    own = rows[data.context[rows] == context]
    return own if len(own) else rows


def in_every_context(data: Bundle) -> list[PartEffects]:
    """Return the effects of the parts per context."""
    return [PartEffects.of(data, context) for context in range(len(data.contexts))]
