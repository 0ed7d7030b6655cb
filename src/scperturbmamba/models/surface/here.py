"""A response surface as it is seen from one context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.part_effects import Effect, PartEffects
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
    mean
        (genes,): mean effect of the training conditions here, where nothing was measured alone anywhere.
    """

    surface: Surface
    context: int
    parts: tuple[Part, ...]
    rows: NDArray[np.int64]
    mean: Effect

    @classmethod
    def of(cls, surface: Surface, seen: PartEffects, context: int) -> Self:
        """Find the parts seen alone in a context among what was measured."""
        place = {part: row for row, (part, here) in enumerate(zip(surface.parts, surface.context)) if here == context}
        parts = tuple(part for part in sorted(seen.alone) if part in place)
        return cls(surface, context, parts, np.array([place[part] for part in parts], np.int64), seen.mean)

    def expect(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of parts (new × genes)."""
        return self.surface.say(new, self.context, vectors) if self.surface.parts else self.means(new, vectors)

    def means(self, some: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of any perturbation at their doses (some × genes)."""
        if not self.surface.parts:
            return np.repeat(self.mean[None].astype(np.float64), len(some), axis=0)
        return self.surface.shared(some, self.context, vectors)

    def left_out(self) -> Rows:
        """Return what is said of every part without its name, at any dose and in any context (parts × genes)."""
        return self.surface.belief.foreseen[self.rows]

    def trials(self) -> Trials:
        """Return every part without its name anywhere, and, if more is known of its name, without its own cells alone.

        Where nothing was measured, those of the other contexts, without the whole context.
        """
        whole = self.surface
        if not self.parts:
            said, nearest = whole.context_left_out, whole.nearest[2]
            return Trials(whole.parts, whole.context, said, nearest, np.zeros(len(whole.parts), bool))
        n_points = Counter(part.name for part in whole.parts)
        again = [number for number, part in enumerate(self.parts) if n_points[part.name] > 1]
        said = np.concatenate([self.left_out(), whole.dose_left_out[self.rows[again]]])
        nearest = np.concatenate([whole.nearest[0][self.rows], whole.nearest[1][self.rows[again]]])
        parts = (*self.parts, *(self.parts[number] for number in again))
        return Trials(parts, np.full(len(parts), self.context), said, nearest, np.arange(len(parts)) < len(self.parts))

    def neighbours(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> tuple[tuple[Part, ...], Rows]:
        """Return what was measured, and how alike new parts are to it; -1 of a part with itself."""
        alike = self.surface.likeness(new, self.context, vectors)
        place = dict(zip(self.parts, self.rows))
        for row, part in enumerate(new):
            if part in place:
                alike[row, place[part]] = -1
        return self.surface.parts, alike
