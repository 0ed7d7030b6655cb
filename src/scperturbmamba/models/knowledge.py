"""The knowledge core: shrunken effects, kernels over gene features, and a gate that opens only where they help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.models.encoding import described_by
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.inside_doubles import InsideDoubles
from scperturbmamba.models.kernels import cosines
from scperturbmamba.models.own_change import OwnChange
from scperturbmamba.models.part_effects import PartEffects, in_every_context
from scperturbmamba.models.shrinkage import cell_noise, shrunk
from scperturbmamba.models.stack import Stack

_RANK = 50  # numbers in which effects are compared


@dataclass
class Knowledge:
    """Predict unseen genes from what is known of them, and seen ones from their shrunken effects.

    A part that was seen alone has its measured effect, drawn to the mean as far as it is noise; one that was not has
    the mean plus what the kernels say, if the gate is open, corrected by training combinations that hold it beside seen
    parts; combinations are sums. The perturbed gene's own change is learned from the screen.

    Attributes
    ----------
    random_state
        Seed of the folds of the gate.
    shuffled
        Give every gene the features of another, as a null.
    """

    random_state: int = 0
    shuffled: bool = False

    def fit(self, data: Bundle) -> Self:
        """Learn from the training rows; the validation rows are not needed."""
        noise = cell_noise(data)
        self.effects = in_every_context(shrunk(data, noise))
        self.own = OwnChange.fit(data)
        self.sources = [table.source for table in described_by(data.features)]
        vectors = [GeneVectors.of(data, source) for source in self.sources]
        if self.shuffled:
            vectors = [one.shuffled(self.random_state) for one in vectors]
        self.vectors = vectors
        self.doubles = [InsideDoubles.fit(data, seen, noise, context) for context, seen in enumerate(self.effects)]
        self.cores = [
            _Core.fit(seen, vectors, _trust(data, noise, seen, context), np.random.default_rng(self.random_state))
            for context, seen in enumerate(self.effects)
        ]
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return effects (conditions × genes); the control does nothing."""
        seen, core = self.effects[context], self.cores[context]
        new = seen.new_parts(conditions)
        guessed = dict(zip(new, seen.mean + core.say(new, self.vectors)))
        for part in new:
            self.own.set(guessed[part], part, context)
            self.doubles[context].correct(guessed[part], part)
        return seen.sums(conditions, guessed)

    def report(self) -> list[str]:
        """Return in words, per context, whether the kernels speak, which, and what they are expected to gain."""
        return [core.words(self.sources) for core in self.cores]


@dataclass(frozen=True)
class _Core:
    """The kernels of one context, and the stack that weighs them."""

    parts: tuple[Part, ...]
    kernels: tuple[NDArray[np.float64], ...]
    y: NDArray[np.float64]
    axes: NDArray[np.float64]
    stack: Stack

    @classmethod
    def fit(
        cls,
        seen: PartEffects,
        vectors: Sequence[GeneVectors],
        trust: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Self:
        parts = tuple(sorted(seen.alone))
        rest = np.array([seen.alone[part] - seen.mean for part in parts], np.float64).reshape(len(parts), -1)
        _, _, axes = np.linalg.svd(rest, full_matrices=False)
        axes = axes[:_RANK]
        y = rest @ axes.T
        taken = [one.take([part.name for part in parts])[0] for one in vectors]
        kernels = _with_mean([cosines(one, one) for one in taken])
        return cls(parts, tuple(kernels), y, axes, Stack.fit(kernels, y, trust, rng))

    def say(self, new: Sequence[Part], vectors: Sequence[GeneVectors]) -> NDArray[np.float64]:
        """Return what is expected of new parts beside the mean (new × genes)."""
        if not self.stack.is_open or not new:
            return np.zeros((len(new), self.axes.shape[1]))
        names, known = [part.name for part in new], [part.name for part in self.parts]
        across = _with_mean([cosines(one.take(names)[0], one.take(known)[0]) for one in vectors])
        return np.asarray(self.stack.predict(self.kernels, across, self.y) @ self.axes, np.float64)

    def words(self, sources: Sequence[str]) -> str:
        gain = f"{self.stack.gain:+.1%} ± {self.stack.error:.1%} of the squared effect, on genes left out"
        if not self.stack.is_open:
            return f"acts as the mean: the features gain {gain}"
        names = [*sources, "all sources"]
        who = {f"{names[one.kernel]} ({one.kind})" for one in self.stack.members}
        return f"knowledge is on ({', '.join(sorted(who))}): expected gain over the mean {gain}"


def _with_mean(kernels: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the kernels and, where there are several, their mean."""
    return [*kernels, np.mean(kernels, axis=0)] if len(kernels) > 1 else kernels


def _trust(data: Bundle, noise: NDArray[np.float64], seen: PartEffects, context: int) -> NDArray[np.float64]:
    """Return a weight per part seen alone: 1 / (1 + noise over the mean noise); 1 where the noise is not known."""
    level = {
        data.conditions[row].parts[0]: float(noise[row].mean())
        for row in data.training()
        if len(data.conditions[row].parts) == 1 and data.context[row] == context
    }
    found = np.array([level.get(part, np.nan) for part in sorted(seen.alone)])
    typical = np.nanmean(found) if np.isfinite(found).any() else 1.0
    return np.where(np.isfinite(found), 1 / (1 + found / max(typical, 1e-12)), 0.5)
