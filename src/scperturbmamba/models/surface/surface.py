"""The response surface: effects over perturbations, doses and contexts, from all that was measured at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Part
from scperturbmamba.data.doses import Doses
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.part_effects import PartEffects, parts_of_state, parts_state
from scperturbmamba.models.surface.noise import row_noise
from scperturbmamba.models.surface.points import Points, Scene
from scperturbmamba.models.surface.process import Process, likeliest, whitening
from scperturbmamba.models.surface.shape import Shape, Vector

_MOST, _AXES = 500, 20  # points and directions on which the shape is sought


@dataclass(frozen=True)
class Surface:
    """A Gaussian process over parts, doses and contexts, fitted.

    Attributes
    ----------
    scene
        Contexts and reference doses.
    parts, context
        What was measured, and where.
    shape
        Of the kernel.
    weights
        (measured × genes): what the kernel of new points and these is multiplied by.
    left_out, dose_left_out, context_left_out
        (measured × genes): what is said of each without its name anywhere, without itself alone, and without its whole
        context; empty when stored.
    nearest
        (3 × measured): likeness of the most alike of what was left, in each case.
    noise
        (measured × genes): variance of a measurement around the surface; empty when stored.
    """

    scene: Scene
    parts: tuple[Part, ...]
    context: NDArray[np.int64]
    shape: Shape
    weights: Rows
    left_out: Rows
    dose_left_out: Rows
    context_left_out: Rows
    nearest: Rows
    noise: Rows

    @classmethod
    def fit(cls, data: Bundle, noise: Rows, vectors: Sequence[GeneVectors], rng: np.random.Generator) -> Self:
        """Learn from the training rows of one part; ``noise`` as of ``shrinkage.cell_noise``."""
        rows = np.array([row for row in data.training() if len(data.conditions[row].parts) == 1], np.int64)
        parts = tuple(data.conditions[row].parts[0] for row in rows)
        context, y = data.context[rows], data.delta[rows].astype(np.float64)
        scene = Scene(data.contexts, data.doses).with_gains(parts, context, y)
        points = scene.points(parts, context, vectors)
        covariance = row_noise(data, noise, rows)
        shape = best_shape(points, covariance, y, len(data.contexts), rng)
        process = Process(shape.between(points, points), whitening(covariance), y)
        by_name, alone, by_context = _left_out(process, points.names, np.arange(len(y)), points.context)
        gain = np.array([scene.gain_of(number) for number in context])
        by_context = by_context / gain[:, None]  # of a context that is left out its gain is not known either
        nearest = _nearest(_correlation(process.kernel), points)
        weights = process.weights().astype(np.float32).astype(np.float64)
        around = np.outer(np.diag(covariance), process.noise)
        return cls(scene, parts, context, shape, weights, by_name, alone, by_context, nearest, around)

    def say(self, parts: Sequence[Part], context: int, vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of parts in a context (parts × genes)."""
        return self._times(parts, context, vectors, only_shared=False)

    def shared(self, parts: Sequence[Part], context: int, vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of any part at their doses in a context (parts × genes)."""
        return self._times(parts, context, vectors, only_shared=True)

    def likeness(self, new: Sequence[Part], context: int, vectors: Sequence[GeneVectors]) -> Rows:
        """Return the correlation expected between new parts in a context and every measured point."""
        here, there = self._points(new, context, vectors), self.scene.points(self.parts, self.context, vectors)
        size = [np.sqrt(np.maximum(self.shape.variance(one), 1e-12)) for one in (here, there)]
        return np.asarray(self.shape.between(here, there) / np.outer(*size), np.float64)

    @property
    def names(self) -> frozenset[str]:
        """Of everything that was measured, at any dose and in any context."""
        return frozenset(part.name for part in self.parts)

    def effects(self, own: PartEffects, context: int, vectors: Sequence[GeneVectors]) -> PartEffects:
        """Return the effects of the parts measured in a context, with what all others tell of them."""
        here = {part for part, place in zip(self.parts, self.context) if place == context}
        seen = [part for part in own.alone if part in here]
        return PartEffects(dict(zip(seen, self.say(seen, context, vectors).astype(np.float32))), own.mean)

    def words(self, sources: Sequence[str]) -> str:
        """Return what the variance of effects was found to be made of."""
        names = ["what all do", "what one does", *self.scene.named(sources)]
        told = [f"{name} {share:.0%}" for name, share in zip(names, self.shape.shares)]
        if self.scene.doses.reference:
            told.append(f"half effect at {self.shape.half:.2g} of the reference dose, {self.shape.bend:.0%} bent")
        if len(self.scene.contexts) > 1:
            told.append(f"own to a context {self.shape.own_context:.0%}")
        return f"a response surface over {len(self.parts)} measured effects: {', '.join(told)}"

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        words: dict[str, Any] = {
            "contexts": list(self.scene.contexts),
            "reference": dict(self.scene.doses.reference),
            "gains": dict(self.scene.gains),
            "parts": parts_state(self.parts),
            "shape": self.shape.state(),
        }
        return words, {"context": self.context, "weights": self.weights.astype(np.float32)}

    @classmethod
    def from_state(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        nothing = np.zeros((0, arrays["weights"].shape[1]))
        return cls(
            Scene(tuple(words["contexts"]), Doses(words["reference"]), words["gains"]),
            tuple(parts_of_state(words["parts"])),
            arrays["context"],
            Shape.from_state(words["shape"]),
            arrays["weights"].astype(np.float64),
            *[nothing] * 5,
        )

    def _points(self, parts: Sequence[Part], context: int, vectors: Sequence[GeneVectors]) -> Points:
        return self.scene.points(parts, np.full(len(parts), context), vectors)

    def _times(self, parts: Sequence[Part], context: int, vectors: Sequence[GeneVectors], *, only_shared: bool) -> Rows:
        if not parts:
            return np.zeros((0, self.weights.shape[1]))
        here, there = self._points(parts, context, vectors), self.scene.points(self.parts, self.context, vectors)
        return np.asarray(self.shape.between(here, there, only_shared=only_shared) @ self.weights, np.float64)


def is_surface(data: Bundle) -> bool:
    """Tell whether effects were measured at several doses, in several contexts, or by several kinds of perturbation."""
    parts = {part for row in data.training() for part in data.conditions[row].parts}
    dosed = any(part.dose is not None for part in parts)
    return dosed or len(data.contexts) > 1 or len({part.kind for part in parts}) > 1


def best_shape(points: Points, noise: Rows, y: Rows, n_contexts: int, rng: np.random.Generator) -> Shape:
    """Return the shape that makes the measurements likeliest; of very many, some names are looked at."""
    names = rng.permutation(np.unique(points.names))
    order = np.concatenate([np.flatnonzero(points.names == name) for name in names]) if len(names) else np.zeros(0, int)
    some = np.sort(order[:_MOST])
    axes = np.linalg.svd(y[some], full_matrices=False)[2][:_AXES]
    part, white, seen = points.take(some), whitening(noise[np.ix_(some, some)]), y[some] @ axes.T
    first = Shape.first_numbers(len(points.vectors))
    if len(some) < 3:
        return Shape.of_numbers(first)

    def process_of(numbers: Vector) -> Process:
        return Process(Shape.of_numbers(numbers).between(part, part), white, seen)

    return Shape.of_numbers(likeliest(process_of, first, _free(points, n_contexts)))


def _free(points: Points, n_contexts: int) -> NDArray[np.bool_]:
    """Tell which numbers of a shape the measurements can say something about."""
    dosed = len(np.unique(points.dose)) > 1
    several = n_contexts > 1
    free = [dosed, dosed, dosed, dosed, several, several and bool(np.isfinite(points.place).any())]
    free += [len(np.unique(points.kinds)) > 1, True, *(bool(one.any()) for one in points.vectors)]
    return np.array(free)


def _correlation(kernel: Rows) -> Rows:
    size = np.sqrt(np.maximum(np.diag(kernel), 1e-12))
    return np.asarray(kernel / np.outer(size, size), np.float64)


def _left_out(process: Process, *groupings: NDArray[Any]) -> list[Rows]:
    """Return, for every grouping, what is said of each point without its group (points × genes)."""
    blocks = [[np.flatnonzero(groups == one) for one in np.unique(groups)] for groups in groupings]
    said = iter(process.left_out([block for some in blocks for block in some]))
    found = [np.zeros_like(process.y) for _ in groupings]
    for result, some in zip(found, blocks):
        for block in some:
            result[block] = next(said)
    return found


def _nearest(alike: Rows, points: Points) -> Rows:
    """Return the highest likeness of every point to one of another name, to any other, to one of another context."""
    groups = (points.names, np.arange(len(points)), points.context)
    return np.stack([np.where(one[:, None] == one, -1.0, alike).max(1) for one in groups])
