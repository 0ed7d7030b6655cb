"""What is perturbed, how strongly and where, as the arrays that a kernel compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.data.doses import Doses
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import Rows, unit

_DRAW, _LEAST = 10, 1e-12  # rows that no difference of gain is worth; square of an effect
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
    gain
        (points,): how large effects are in the context and by the kind, beside the others.
    place
        (points,): number that a context stands for, such as hours; NaN where its name is none.
    vectors
        Per source (points × numbers): of length 1, or 0 where nothing is known.
    """

    names: NDArray[np.str_]
    kinds: NDArray[np.str_]
    dose: Rows
    context: NDArray[np.int64]
    gain: Rows
    place: Rows
    vectors: tuple[Rows, ...]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: NDArray[np.integer]) -> Points:
        """Return some of the points."""
        vectors = tuple(one[rows] for one in self.vectors)
        names, kinds, dose = self.names[rows], self.kinds[rows], self.dose[rows]
        return Points(names, kinds, dose, self.context[rows], self.gain[rows], self.place[rows], vectors)


@dataclass(frozen=True)
class Scene:
    """What turns parts into points.

    Attributes
    ----------
    contexts
        Names of the contexts.
    doses
        How high those of each drug go. It is a feature too: drugs that are given at alike doses may do alike things.
    gains
        How large effects are in a context, or by a kind of perturbation, beside the others; 1 where that is not known.
    """

    contexts: tuple[str, ...]
    doses: Doses
    gains: Mapping[str, float] = field(default_factory=dict)

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
            np.array([self._gain(part, number) for part, number in zip(parts, context)], np.float64),
            numbers[context],
            (*told, self._strength(names)) if self.doses.reference else told,
        )

    def with_gains(self, parts: Sequence[Part], context: NDArray[np.int64], effects: Rows) -> Scene:
        """Return the scene with the gains of its contexts and kinds, from measured effects (parts × genes)."""
        where = [f"context {self.contexts[number]}" for number in context]
        found = _sizes(where, effects)
        kinds = [f"kind {part.kind}" for part in parts]
        return replace(self, gains=found | _sizes(kinds, effects / np.array([found[name] for name in where])[:, None]))

    def gain_of(self, context: int) -> float:
        """Return the gain of a context."""
        known = context < len(self.contexts)
        return self.gains.get(f"context {self.contexts[context]}", 1.0) if known else 1.0

    def _gain(self, part: Part, context: int) -> float:
        return self.gain_of(context) * self.gains.get(f"kind {part.kind}", 1.0)

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


def _sizes(groups: Sequence[str], effects: Rows) -> dict[str, float]:
    """Return the size of the effects of each group beside the others, drawn to 1 where rows are few."""
    square = np.square(effects).mean(1) + _LEAST
    names, place, n = np.unique(groups, return_inverse=True, return_counts=True)
    logs = np.log([square[place == number].mean() for number in range(len(names))]) / 2
    middle = float(np.average(logs, weights=n))
    return {str(name): float(np.exp((one - middle) * k / (k + _DRAW))) for name, one, k in zip(names, logs, n)}
