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

_RANK = 50  # numbers in which effects are compared


@dataclass(frozen=True)
class Unseen:
    """The kernels of one context, and the stack that weighs them.

    Attributes
    ----------
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

    parts: tuple[Part, ...]
    kernels: tuple[Kernel, ...]
    y: Rows
    axes: Rows
    stack: Stack

    @classmethod
    def fit(cls, seen: PartEffects, vectors: Sequence[GeneVectors], trust: Vector, rng: np.random.Generator) -> Self:
        """Learn from the parts seen alone; ``trust`` weighs them."""
        parts, rest = _effects(seen)
        _, _, axes = np.linalg.svd(rest, full_matrices=False)
        axes = axes[:_RANK]
        kernels = _kernels(parts, vectors)
        return cls(parts, kernels, rest @ axes.T, axes, Stack.fit(kernels, rest @ axes.T, trust, rng))

    def say(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of new parts beside the mean (new × genes)."""
        if not new or not self.stack.is_open:
            return np.zeros((len(new), self.axes.shape[1]))
        return np.asarray(self.stack.predict(self.kernels, _kernels(new, vectors), self.y) @ self.axes, np.float64)

    def left_out(self) -> Rows:
        """Return what is said of every part seen alone by the others, beside the mean (parts × genes)."""
        return np.asarray(self.stack.left_out(self.kernels, self.y) @ self.axes, np.float64)

    def foreseen(self) -> Rows:
        """Return what was said of every part by folds that took no part in choosing either (parts × genes)."""
        return np.asarray((self.stack.gate.opening * self.stack.foreseen) @ self.axes, np.float64)

    def likeness(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return how alike new parts and those seen alone are, over all sources (new × parts), from -1 to 1."""
        if not self.kernels:
            return np.zeros((len(new), len(self.parts)))
        return _kernels(new, vectors)[-1].across(self.kernels[-1])

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
        vectors: Sequence[GeneVectors],
        words: dict[str, Any],
        axes: Rows,
    ) -> Self:
        """Make it again."""
        parts, rest = _effects(seen)
        return cls(parts, _kernels(parts, vectors), rest @ axes.T, axes, Stack.from_state(words))


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
