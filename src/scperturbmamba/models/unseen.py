"""What is expected of parts that were never perturbed alone, from kernels over the features of genes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.models.gate import Vector
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import Kernel, Rows
from scperturbmamba.models.part_effects import PartEffects
from scperturbmamba.models.stack import Stack
from scperturbmamba.models.trials import Trials

_RANK = 50  # numbers in which effects are compared


@dataclass(frozen=True)
class Unseen:
    """The kernels of one context, and the stack that weighs them.

    Attributes
    ----------
    seen
        Effects of the parts seen alone, and their mean.
    context
        Number of the context.
    parts
        Those seen alone, in the order of the rows.
    kernels
        Likeness of the parts, by source, then the mean of all sources.
    y
        (parts × axes): effects less their mean.
    axes
        (axes × genes): directions in which genes respond together.
    stack
        What speaks, and how far it is believed.
    """

    seen: PartEffects
    context: int
    parts: tuple[Part, ...]
    kernels: tuple[Kernel, ...]
    y: Rows
    axes: Rows
    stack: Stack

    @classmethod
    def fit(
        cls, seen: PartEffects, context: int, vectors: Sequence[GeneVectors], trust: Vector, rng: np.random.Generator
    ) -> Self:
        """Learn from the parts seen alone; ``trust`` weighs them."""
        parts, rest = _effects(seen)
        _, _, axes = np.linalg.svd(rest, full_matrices=False)
        axes = axes[:_RANK]
        kernels = _kernels(parts, vectors)
        return cls(seen, context, parts, kernels, rest @ axes.T, axes, Stack.fit(kernels, rest @ axes.T, trust, rng))

    def expect(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of new parts (new × genes): the mean, and what the kernels say beside it."""
        found = self.means(new, vectors)
        if len(new) and self.stack.is_open:
            found = found + self.stack.predict(self.kernels, _kernels(new, vectors), self.y) @ self.axes
        return found

    def means(self, some: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return the mean effect for every part (some × genes)."""
        return np.repeat(self.seen.mean[None].astype(np.float64), len(some), axis=0)

    def left_out(self) -> Rows:
        """Return what is said of every part seen alone by the others (parts × genes)."""
        return np.asarray(_mean_of_others(self.seen) + self.stack.left_out(self.kernels, self.y) @ self.axes)

    def trials(self) -> Trials:
        """Return what was said of every part by folds that took no part in choosing either."""
        said = _mean_of_others(self.seen) + (self.stack.gate.opening * self.stack.foreseen) @ self.axes
        alike = self.kernels[-1].to_others if self.kernels else np.zeros((len(self.parts), 0))
        nearest = (alike - np.eye(*alike.shape)).max(1) if alike.size else np.zeros(len(self.parts))
        return Trials(self.parts, np.full(len(self.parts), self.context), said, nearest, np.ones(len(self.parts), bool))

    def knows(self, part: Part) -> bool:
        """Tell whether another dose, kind or context of a name was measured: here there is only one."""
        return False

    def neighbours(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> tuple[tuple[Part, ...], Rows]:
        """Return the parts seen alone, and how alike new ones are over all sources, from -1 to 1."""
        if not self.kernels:
            return self.parts, np.zeros((len(new), len(self.parts)))
        alike = _kernels(new, vectors)[-1].across(self.kernels[-1])
        place = {part: number for number, part in enumerate(self.parts)}
        for row, part in enumerate(new):
            if part in place:
                alike[row, place[part]] = -1
        return self.parts, alike

    def words(self, sources: Sequence[str]) -> str:
        """Return whether the kernels speak, which, and what they are expected to gain."""
        gain = f"{self.stack.gate.words()} of the squared effect, on genes left out"
        if not self.stack.is_open:
            return f"acts as the mean: the features gain {gain}"
        names = [*sources, "all sources"]
        who = {f"{names[one.kernel]} ({one.kind})" for one in self.stack.members}
        return f"knowledge is on ({', '.join(sorted(who))}): expected gain over the mean {gain}"

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words and arrays from which, with the effects and the vectors, it can be made again."""
        return self.stack.state(), {"axes": self.axes}

    @classmethod
    def from_state(
        cls,
        seen: PartEffects,
        context: int,
        vectors: Sequence[GeneVectors],
        words: dict[str, Any],
        axes: Rows,
    ) -> Self:
        """Make it again."""
        parts, rest = _effects(seen)
        return cls(seen, context, parts, _kernels(parts, vectors), rest @ axes.T, axes, Stack.from_state(words))


def _effects(seen: PartEffects) -> tuple[tuple[Part, ...], Rows]:
    """Return the parts seen alone, and their effects less the mean."""
    parts = tuple(sorted(seen.alone))
    rest = np.array([seen.alone[part] for part in parts], np.float64).reshape(len(parts), len(seen.mean))
    return parts, rest - seen.mean.astype(np.float64)


def _kernels(parts: Sequence[Part], vectors: Sequence[GeneVectors]) -> tuple[Kernel, ...]:
    """Return a kernel per source and, where there are several, their mean."""
    names = [part.name for part in parts]
    kernels = [Kernel.of(one.take(names)[0]) for one in vectors]
    return (*kernels, Kernel.mean(kernels)) if len(kernels) > 1 else tuple(kernels)


def _mean_of_others(seen: PartEffects) -> Rows:
    """Return, for every part seen alone, the mean effect of the others (parts × genes)."""
    n = len(seen.alone)
    alone = np.array([seen.alone[part] for part in sorted(seen.alone)], np.float64).reshape(n, len(seen.mean))
    return (alone.sum(0) - alone) / (n - 1) if n > 1 else np.zeros_like(alone)
