"""Simple models that know genes by their features: the strongest baselines for unseen perturbations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import average_of_nearest, cosines
from scperturbmamba.models.part_effects import PartEffects, in_every_context


@dataclass
class _FromFeatures:
    """Predict what a part does alone from the features of its gene; combinations are sums over their parts.

    A part that was seen alone has its measured effect; one without features, and one without a training part to learn
    from, has the mean effect. The setting is the one with the least squared error on the validation rows.

    Attributes
    ----------
    source
        Feature table, or None for all that say what a gene does.
    shuffled
        Give every gene the features of another, as a null.
    random_state
        Seed of the shuffling.
    """

    source: str | None = None
    shuffled: bool = False
    random_state: int = 0
    settings: ClassVar[tuple[float, ...]] = ()

    def fit(self, data: Bundle) -> Self:
        """Learn from the parts that were seen alone, and choose the setting on the validation rows."""
        vectors = GeneVectors.of(data, self.source)
        self.vectors = vectors.shuffled(self.random_state) if self.shuffled else vectors
        self.effects = in_every_context(data)
        self.known = [self._training_parts(seen) for seen in self.effects]
        self.setting = self.settings[-1]
        errors = [self._validation_error(data, setting) for setting in self.settings]
        if np.isfinite(errors).any():
            self.setting = self.settings[int(np.nanargmin(errors))]
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return effects (conditions × genes); the control does nothing."""
        return self._predict(conditions, context, self.setting)

    def _predict(self, conditions: Sequence[Condition], context: int, setting: float) -> NDArray[np.float32]:
        seen = self.effects[context]
        new = seen.new_parts(conditions)
        return seen.sums(conditions, dict(zip(new, self._guess(new, context, setting))))

    def _guess(self, parts: Sequence[Part], context: int, setting: float) -> NDArray[np.float64]:
        """Return the effects of parts that were not seen alone (parts × genes)."""
        seen, (x, y) = self.effects[context], self.known[context]
        vectors, described = self.vectors.take([part.name for part in parts])
        result = np.tile(seen.mean.astype(np.float64), (len(parts), 1))
        if described.any() and len(x):
            result[described] += self._regress(x, y, vectors[described], setting)
        return result

    def _training_parts(self, seen: PartEffects) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return features and effects minus the mean of the parts seen alone that have features."""
        parts = sorted(seen.alone)
        vectors, described = self.vectors.take([part.name for part in parts])
        effects = np.array([seen.alone[part] for part in parts], np.float64).reshape(len(parts), len(seen.mean))
        return vectors[described], effects[described] - seen.mean

    def _validation_error(self, data: Bundle, setting: float) -> float:
        total = n = 0.0
        for context in range(len(data.contexts)):
            rows = np.flatnonzero(data.is_val & (data.context == context))
            if len(rows):
                error = self._predict([data.conditions[row] for row in rows], context, setting) - data.delta[rows]
                total += float(np.square(error)[data.known[rows]].sum())
                n += float(data.known[rows].sum())
        return total / n if n else float("nan")

    def _regress(
        self, x: NDArray[np.float64], y: NDArray[np.float64], new: NDArray[np.float64], setting: float
    ) -> NDArray[np.float64]:
        """Return what is expected at new features (n × genes), beside the mean."""
        raise NotImplementedError


class Ridge(_FromFeatures):
    """Regress effects on gene features; the penalty is relative to the mean squared length of a feature vector."""

    settings: ClassVar[tuple[float, ...]] = tuple(float(10.0**power) for power in range(-3, 5))

    def _regress(
        self, x: NDArray[np.float64], y: NDArray[np.float64], new: NDArray[np.float64], setting: float
    ) -> NDArray[np.float64]:
        kernel = x @ x.T
        penalty = setting * max(float(np.trace(kernel)) / len(x), 1e-12)
        return (new @ x.T) @ np.linalg.solve(kernel + penalty * np.eye(len(x)), y)


class Neighbours(_FromFeatures):
    """Average the effects of the parts whose features are most alike (cosine), weighted by likeness.

    A likeness of zero or less counts nothing; the number of neighbours is chosen on the validation rows.
    """

    settings: ClassVar[tuple[float, ...]] = (1.0, 3.0, 5.0, 10.0, 20.0, 40.0, 100.0)

    def _regress(
        self, x: NDArray[np.float64], y: NDArray[np.float64], new: NDArray[np.float64], setting: float
    ) -> NDArray[np.float64]:
        return average_of_nearest(cosines(new, x), y, int(setting))


class Nearest(Neighbours):
    """Copy the effect of the part whose features are most alike."""

    settings: ClassVar[tuple[float, ...]] = (1.0,)
