"""What was said of parts by those that had not seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import Rows


@dataclass(frozen=True)
class Trials:
    """Training parts, predicted without their own cells.

    Attributes
    ----------
    parts, context
        Predicted, and where.
    said
        (trials × genes): effects.
    nearest
        (trials,): likeness of the most alike of what was not left out.
    without_name
        (trials,): whether everything of that name was left out, at any dose and in any context.
    """

    parts: tuple[Part, ...]
    context: NDArray[np.int64]
    said: Rows
    nearest: Rows
    without_name: NDArray[np.bool_]


class Foresight(Protocol):
    """What is expected of parts that were never seen alone in a context."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those seen alone there, sorted."""
        ...

    def expect(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return effects (new × genes)."""
        ...

    def means(self, some: Sequence[Part], vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of any perturbation at their doses (some × genes)."""
        ...

    def left_out(self) -> Rows:
        """Return what is said of every part seen alone by the others (parts × genes)."""
        ...

    def trials(self) -> Trials:
        """Return what was said of parts by those that took no part in choosing either."""
        ...

    def knows(self, part: Part) -> bool:
        """Tell whether another dose, kind or context of a name was measured."""
        ...

    def neighbours(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> tuple[tuple[Part, ...], Rows]:
        """Return what was measured, and its likeness to new parts (new × measured); -1 of a part with itself."""
        ...

    def words(self, sources: Sequence[str]) -> str:
        """Return what speaks, and what it is expected to gain."""
        ...
