"""The response surface: effects over perturbations, doses and contexts, from all that was measured at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Part
from scperturbmamba.data.doses import Doses
from scperturbmamba.models.gate import Gate
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.part_effects import PartEffects, parts_of_state, parts_state
from scperturbmamba.models.surface.belief import Belief
from scperturbmamba.models.surface.noise import RowNoise
from scperturbmamba.models.surface.points import Points, Scene
from scperturbmamba.models.surface.process import Process
from scperturbmamba.models.surface.search import best_shape
from scperturbmamba.models.surface.shape import Shape

_HEARD = 0.005  # share of the variance from which a source is told of


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
    belief
        How far features are believed for names that were never measured.
    weights
        (measured × genes): what the kernel of new points and these is multiplied by.
    control
        (contexts × genes): how much higher the control is than its measured mean, as all effects together tell.
    dose_left_out, context_left_out
        (measured × genes): what is said of each without itself alone, and without its whole context; empty when stored.
    nearest
        (3 × measured): likeness of the most alike of another name, of any other, and of another context.
    noise
        (measured × genes): variance of a measurement around the surface; empty when stored.
    """

    scene: Scene
    parts: tuple[Part, ...]
    context: NDArray[np.int64]
    shape: Shape
    belief: Belief
    weights: Rows
    control: Rows
    dose_left_out: Rows
    context_left_out: Rows
    nearest: Rows
    noise: Rows

    @classmethod
    def fit(cls, data: Bundle, noise: Rows, vectors: Sequence[GeneVectors], rng: np.random.Generator) -> Self:
        """Learn from the training rows of one part; ``noise`` as of ``shrinkage.cell_noise``.

        A gene that is not known in a row is taken to do there what it does on average.
        """
        rows = np.array([row for row in data.training() if len(data.conditions[row].parts) == 1], np.int64)
        if not len(rows):
            return cls._of_nothing(data, len(vectors))
        parts = tuple(data.conditions[row].parts[0] for row in rows)
        context = data.context[rows]
        y = np.where(data.known[rows], data.delta[rows], data.mean_effect(rows)).astype(np.float64)
        scene = Scene(data.contexts, data.doses).with_gains(parts, context, y)
        points, around = scene.points(parts, context, vectors), RowNoise.of(data, noise, rows)
        shape = best_shape(points, around, y, rng)
        belief = Belief.fit(points, around, y, shape, rng)
        shape = shape if belief.gate.is_open else shape.without_sources()
        process = Process.of(shape.between(points, points), around, y)
        control = around.of_control @ process.solved
        dose_left_out, context_left_out = _left_out(process, points, scene, control)
        nearest = _nearest(_likeness(shape, points, points), points)
        weights = process.weights().astype(np.float32).astype(np.float64)
        spread = np.outer(np.diag(around.between), process.noise)
        return cls(
            scene, parts, context, shape, belief, weights, control, dose_left_out, context_left_out, nearest, spread
        )

    @classmethod
    def _of_nothing(cls, data: Bundle, n_sources: int) -> Self:
        width = data.delta.shape[1]
        empty, scene = np.zeros((0, width)), Scene(data.contexts, data.doses)
        shape = Shape.of_numbers(Shape.first_numbers(n_sources + bool(data.doses.reference)))
        control, belief = np.zeros((len(data.contexts), width)), Belief(empty, Gate.shut(0), empty)
        nearest = np.zeros((3, 0))
        return cls(scene, (), np.zeros(0, np.int64), shape, belief, empty, control, empty, empty, nearest, empty)

    def say(self, parts: Sequence[Part], context: int, vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of parts in a context (parts × genes); features tell of new names behind the gate."""
        found = self._times(parts, context, vectors)
        new = [row for row, part in enumerate(parts) if part.name not in self.names]
        shared = self.shared([parts[row] for row in new], context, vectors)
        found[new] = shared + self.belief.pass_on(found[new] - shared)
        return found

    def shared(self, parts: Sequence[Part], context: int, vectors: Sequence[GeneVectors]) -> Rows:
        """Return what is expected of any part at their doses in a context (parts × genes)."""
        return self._times(parts, context, vectors, only_shared=True)

    def likeness(self, new: Sequence[Part], context: int, vectors: Sequence[GeneVectors]) -> Rows:
        """Return how alike new parts in a context and every measured point are beside what all do, from -1 to 1."""
        here, there = self._points(new, context, vectors), self.scene.points(self.parts, self.context, vectors)
        return _likeness(self.shape, here, there)

    @cached_property
    def names(self) -> frozenset[str]:
        """Of everything that was measured, at any dose and in any context."""
        return frozenset(part.name for part in self.parts)

    def effects(self, own: PartEffects, context: int, vectors: Sequence[GeneVectors]) -> PartEffects:
        """Return the effects of the parts measured in a context, with what all others tell of them."""
        here = {part for part, place in zip(self.parts, self.context) if place == context}
        seen = [part for part in own.alone if part in here]
        return PartEffects(dict(zip(seen, self.say(seen, context, vectors).astype(np.float32))), own.mean)

    def words(self, sources: Sequence[str]) -> list[str]:
        """Return whether features speak of new names, and what the variance of effects was found to be made of."""
        if self.belief.gate.is_open:
            shares = dict(zip(self.scene.named(sources), self.shape.shares[2:]))
            least = min(_HEARD, max(shares.values()))
            heard = ", ".join(sorted(name for name, share in shares.items() if share >= least))
            told = f"knowledge is on ({heard}): {self.belief.words()}"
        else:
            told = f"acts as the mean: {self.belief.words()}"
        return [told, self._made_of(sources)]

    def _made_of(self, sources: Sequence[str]) -> str:
        names = ["what all do", "what one does", *self.scene.named(sources)]
        told = [f"{name} {share:.0%}" for name, share in zip(names, self.shape.shares) if share > _HEARD]
        if self.scene.doses.reference:
            told.append(f"half effect at {self.shape.half:.2g} of the reference dose, {self.shape.bend:.0%} bent")
        if len(self.scene.contexts) > 1:
            told.append(f"own to a context {self.shape.own_context:.0%}")
        return f"the variance of {len(self.parts)} measured effects: {', '.join(told)}"

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        gate, arrays = self.belief.state()
        words: dict[str, Any] = {
            "contexts": list(self.scene.contexts),
            "reference": dict(self.scene.doses.reference),
            "gains": dict(self.scene.gains),
            "parts": parts_state(self.parts),
            "shape": self.shape.state(),
            "gate": gate,
        }
        arrays |= {"context": self.context, "weights": self.weights.astype(np.float32), "control": self.control}
        return words, arrays

    @classmethod
    def from_state(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        nothing = np.zeros((0, arrays["weights"].shape[1]))
        return cls(
            Scene(tuple(words["contexts"]), Doses(words["reference"]), words["gains"]),
            tuple(parts_of_state(words["parts"])),
            arrays["context"],
            Shape.from_state(words["shape"]),
            Belief.from_state(words["gate"], arrays["axes"]),
            arrays["weights"].astype(np.float64),
            arrays["control"],
            *[nothing] * 4,
        )

    def _points(self, parts: Sequence[Part], context: int, vectors: Sequence[GeneVectors]) -> Points:
        return self.scene.points(parts, np.full(len(parts), context), vectors)

    def _times(
        self, parts: Sequence[Part], context: int, vectors: Sequence[GeneVectors], *, only_shared: bool = False
    ) -> Rows:
        if not parts:
            return np.zeros((0, self.weights.shape[1]))
        here, there = self._points(parts, context, vectors), self.scene.points(self.parts, self.context, vectors)
        return np.asarray(self.shape.between(here, there, only_shared=only_shared) @ self.weights, np.float64)


def _likeness(shape: Shape, here: Points, there: Points) -> Rows:
    size = [np.sqrt(np.maximum(shape.variance(one), 1e-12)) for one in (here, there)]
    beside = shape.between(here, there) - shape.between(here, there, only_shared=True)
    return np.asarray(beside / np.outer(*size), np.float64)


def _left_out(process: Process, points: Points, scene: Scene, control: Rows) -> tuple[Rows, Rows]:
    """Return what is said of each point without itself, and without its whole context (points × genes).

    The others know the noise of control cells that they share with it, which is no effect. Of a context that is left
    out the gain is not known either. What cannot be told apart stays 0: all that was measured once, or in one context.
    """
    alone, by_context = np.zeros_like(process.y), np.zeros_like(process.y)
    if len(np.unique(points.names)) < len(points):
        said = process.left_out([np.array([row]) for row in range(len(points))])
        alone = np.concatenate(said) - control[points.context]
    contexts = [np.flatnonzero(points.context == one) for one in np.unique(points.context)]
    if len(contexts) > 1:
        for rows, one in zip(contexts, process.left_out(contexts)):
            by_context[rows] = one / scene.gain_of(int(points.context[rows[0]]))
    return alone, by_context


def _nearest(alike: Rows, points: Points) -> Rows:
    """Return the highest likeness of every point to one of another name, to any other, to one of another context."""
    groups = (points.names, np.arange(len(points)), points.context)
    return np.stack([np.where(one[:, None] == one, -1.0, alike).max(1, initial=-1.0) for one in groups])
