"""A response surface as it is seen from one context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.part_effects import PartEffects
from scperturbmamba.models.surface.surface import Surface
from scperturbmamba.models.trials import Trials


@dataclass(frozen=True)
class SurfaceHere:
    """What a surface says in one context.

    Attributes
    ----------
    surface
        Fitted on all contexts.
    context
        Number of this one.
    parts
        Those seen alone here, sorted.
    rows
        (parts,): where each stands among what was measured.
    """

    surface: Surface
    context: int
    parts: tuple[Part, ...]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, surface: Surface, seen: PartEffects, context: int) -> Self:
        """Find the parts seen alone in a context among what was measured."""
        place = {part: row for row, (part, here) in enumerate(zip(surface.parts, surface.context)) if here == context}
        parts = tuple(part for part in sorted(seen.alone) if part in place)
        return cls(surface, context, parts, np.array([place[part] for part in parts], np.int64))

    def expect(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of parts (new × genes)."""
        return self.surface.say(new, self.context, vectors)

    def means(self, some: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of any perturbation at their doses (some × genes)."""
        return self.surface.shared(some, self.context, vectors)

    def left_out(self) -> Rows:
        """Return what is said of every part without its name, at any dose and in any context (parts × genes)."""
        return self.surface.left_out[self.rows]

    def trials(self) -> Trials:
        """Return every part twice: without its name anywhere, and without its own cells alone.

        Where nothing was measured, those of the other contexts, without the whole context.
        """
        whole = self.surface
        if not self.parts:
            said, nearest = whole.context_left_out, whole.nearest[2]
            return Trials(whole.parts, whole.context, said, nearest, np.zeros(len(whole.parts), bool))
        said = np.concatenate([whole.left_out[self.rows], whole.dose_left_out[self.rows]])
        nearest = np.concatenate([one[self.rows] for one in whole.nearest[:2]])
        n = len(self.parts)
        context = np.full(2 * n, self.context)
        return Trials((*self.parts, *self.parts), context, said, nearest, np.repeat([True, False], n))

    def knows(self, part: Part) -> bool:
        """Tell whether another dose, kind or context of a name was measured."""
        return part.name in self.surface.names

    def neighbours(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> tuple[tuple[Part, ...], Rows]:
        """Return what was measured, and the correlation expected with new parts; -1 of a part with itself."""
        alike = self.surface.likeness(new, self.context, vectors)
        place = dict(zip(self.parts, self.rows))
        for row, part in enumerate(new):
            if part in place:
                alike[row, place[part]] = -1
        return self.surface.parts, alike

    def words(self, sources: Sequence[str]) -> str:
        """Return what the surface was found to be made of."""
        return self.surface.words(sources)
