"""What is perturbed, how strongly and where, as the arrays that a kernel compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.data.doses import Doses
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import Rows, unit

_CENTRES = np.arange(-4, 4.1, 0.5)  # standard deviations of the log reference dose


@dataclass(frozen=True)
class Points:
    """Parts in contexts.

    Attributes
    ----------
    names, kinds
        (points,): of the parts.
    dose
        (points,): share of the reference dose of the drug; 1 for a part without a dose.
    context
        (points,): number of the context.
    place
        (points,): number that a context stands for, such as hours; NaN where its name is none.
    vectors
        Per source (points × numbers): of length 1, or 0 where nothing is known.
    """

    names: NDArray[np.str_]
    kinds: NDArray[np.str_]
    dose: Rows
    context: NDArray[np.int64]
    place: Rows
    vectors: tuple[Rows, ...]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: NDArray[np.integer]) -> Points:
        """Return some of the points."""
        vectors = tuple(one[rows] for one in self.vectors)
        names, kinds, dose = self.names[rows], self.kinds[rows], self.dose[rows]
        return Points(names, kinds, dose, self.context[rows], self.place[rows], vectors)


@dataclass(frozen=True)
class Scene:
    """What turns parts into points.

    Attributes
    ----------
    contexts
        Names of the contexts.
    doses
        How high those of each drug go. It is a feature too: drugs that are given at alike doses may do alike things.
    """

    contexts: tuple[str, ...]
    doses: Doses

    def with_context(self, name: str) -> Scene:
        """Return the scene with one more context."""
        return replace(self, contexts=(*self.contexts, name))

    def named(self, sources: Sequence[str]) -> list[str]:
        """Return the names of the vectors of points."""
        return [*sources, "reference dose"] if self.doses.reference else list(sources)

    def points(self, parts: Sequence[Part], context: NDArray[np.int64], vectors: Sequence[GeneVectors]) -> Points:
        """Return the points of parts in contexts; a drug that was never screened has the usual reference dose."""
        names = [part.name for part in parts]
        told = tuple(unit(one.take(names)[0]) for one in vectors)
        numbers = np.array([*places_of(self.contexts), np.nan])
        return Points(
            np.array(names, dtype=str),
            np.array([part.kind for part in parts], dtype=str),
            np.array([self.doses.share(part) for part in parts], np.float64),
            context,
            numbers[context],
            (*told, self._strength(names)) if self.doses.reference else told,
        )

    def _strength(self, names: Sequence[str]) -> Rows:
        """Return numbers whose products fall with the distance of the logs of two reference doses, as a Gaussian."""
        mean, spread = self.doses.logs
        given = np.array([self.doses.reference.get(name, np.nan) for name in names], np.float64)
        at = (np.log(given) - mean) / spread
        near = np.exp(-np.square(at[:, None] - _CENTRES))
        return unit(np.where(np.isfinite(at)[:, None], near, 0.0))


def places_of(contexts: Sequence[str]) -> list[float]:
    """Return the numbers that contexts are named by, such as hours; NaN for all if one is no number."""
    try:
        numbers = [float(name) for name in contexts]
    except ValueError:
        return [np.nan] * len(contexts)
    return numbers if all(0 <= one < np.inf for one in numbers) else [np.nan] * len(contexts)
