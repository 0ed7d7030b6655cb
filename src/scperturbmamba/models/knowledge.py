"""The knowledge core: shrunken effects, kernels over gene features, and a gate that opens only where they help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.encoding import described_by
from scperturbmamba.models.gate import Vector
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.inside_doubles import InsideDoubles
from scperturbmamba.models.interaction import Interaction
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.own_change import OwnChange
from scperturbmamba.models.part_effects import PartEffects, in_every_context
from scperturbmamba.models.shrinkage import cell_noise, shrunk
from scperturbmamba.models.unseen import Unseen


@dataclass
class Knowledge:
    """Predict unseen genes from what is known of them, and seen ones from their shrunken effects.

    A part that was seen alone has its measured effect, drawn to the mean as far as it is noise; one that was not has
    the mean plus what the kernels say, if the gate is open, corrected by training combinations that hold it beside seen
    parts; combinations are sums, with an interaction where training combinations support one. The perturbed gene's own
    change is learned from the screen.

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
        self.genes = data.genes
        noise = cell_noise(data)
        self.effects = in_every_context(shrunk(data, noise))
        self.own = OwnChange.fit(data)
        self.sources = [table.source for table in described_by(data.features)]
        vectors = [GeneVectors.of(data, source) for source in self.sources]
        if self.shuffled:
            vectors = [one.shuffled(self.random_state) for one in vectors]
        self.vectors = vectors
        self.doubles = [InsideDoubles.fit(data, seen, noise, context) for context, seen in enumerate(self.effects)]
        self.unseen = [
            Unseen.fit(seen, vectors, _trust(data, noise, seen, context), np.random.default_rng(self.random_state))
            for context, seen in enumerate(self.effects)
        ]
        self.interactions = [
            Interaction.fit(data, seen, context, np.random.default_rng(self.random_state))
            for context, seen in enumerate(self.effects)
        ]
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return effects (conditions × genes); the control does nothing."""
        seen = self.effects[context]
        new = seen.new_parts(conditions)
        guessed = dict(zip(new, self._guess(new, context)))
        for part in new:
            self.doubles[context].correct(guessed[part], part)
        sums = seen.sums(conditions, guessed)
        return sums + self.interactions[context].say(conditions, seen)

    def mean(self, context: int) -> NDArray[np.float32]:
        """Return the mean effect (genes,) of the training conditions of a context."""
        return self.effects[context].mean

    def left_out(self, context: int) -> tuple[tuple[Part, ...], NDArray[np.float32]]:
        """Return the parts seen alone, and what is said of each without its own effect (parts × genes)."""
        unseen = self.unseen[context]
        said = _mean_of_others(self.effects[context]) + unseen.left_out()
        return unseen.parts, self._with_own(said, context)

    def foreseen(self, context: int) -> NDArray[np.float32]:
        """Return what was said of every part seen alone by folds without it that chose for themselves."""
        said = _mean_of_others(self.effects[context]) + self.unseen[context].foreseen()
        return self._with_own(said, context)

    def likeness(self, parts: Sequence[Part], context: int) -> Rows:
        """Return how alike parts and those seen alone, sorted, are over all sources; -1 of a part with itself."""
        unseen = self.unseen[context]
        found = unseen.likeness(parts, self.vectors)
        place = {part: number for number, part in enumerate(unseen.parts)}
        for row, part in enumerate(parts):
            if part in place:
                found[row, place[part]] = -1
        return found

    def missing_sources(self, part: Part) -> list[str]:
        """Return the sources that know nothing of a part."""
        return [name for name, one in zip(self.sources, self.vectors) if part.name not in one.place]

    def learn_features(self, tables: Sequence[FeatureTable]) -> None:
        """Take in features of genes that were not known at training, from tables of the same sources."""
        by_source = {table.source: table for table in tables}
        self.vectors = [one.extended([by_source[name]], self.genes) for name, one in zip(self.sources, self.vectors)]

    def report(self) -> list[str]:
        """Return in words, per context, whether the kernels speak, which, and what they are expected to gain."""
        return [
            "; ".join(filter(None, [one.words(self.sources), both.words()]))
            for one, both in zip(self.unseen, self.interactions)
        ]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words that JSON can hold, and arrays, from which the core can be made again."""
        words: dict[str, Any] = {"random_state": self.random_state, "shuffled": self.shuffled, "sources": self.sources}
        words["measured"] = list(self.genes)
        arrays: dict[str, NDArray[Any]] = {"own.control": self.own.control}
        words["own"] = {"place": self.own.place, "ratio": self.own.ratio}
        words["genes"] = [list(one.place) for one in self.vectors]
        for number, one in enumerate(self.vectors):
            arrays[f"vectors.{number}"] = one.values
            if one.axes is not None:
                arrays[f"vector_axes.{number}"] = one.axes
        words["contexts"] = []
        pieces = zip(self.effects, self.unseen, self.doubles, self.interactions)
        for number, (seen, unseen, doubles, both) in enumerate(pieces):
            states = {"effects": seen.state(), "unseen": unseen.state(), "doubles": doubles.state()}
            states["interaction"] = both.state()
            for name, (_, found) in states.items():
                arrays |= {f"{number}.{name}.{key}": value for key, value in found.items()}
            words["contexts"].append({name: told for name, (told, _) in states.items()})
        return words, arrays

    @classmethod
    def from_state(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        core = cls(words["random_state"], words["shuffled"])
        core.sources, core.genes = list(words["sources"]), tuple(words["measured"])
        core.own = OwnChange(words["own"]["place"], arrays["own.control"], words["own"]["ratio"])
        core.vectors = [
            GeneVectors(
                {name: row for row, name in enumerate(names)}, arrays[f"vectors.{n}"], arrays.get(f"vector_axes.{n}")
            )
            for n, names in enumerate(words["genes"])
        ]
        core.effects, core.unseen, core.doubles, core.interactions = [], [], [], []
        for number, told in enumerate(words["contexts"]):
            prefix = f"{number}."
            own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
            seen = PartEffects.from_state(told["effects"], _under("effects.", own))
            core.effects.append(seen)
            core.unseen.append(Unseen.from_state(seen, core.vectors, told["unseen"], own["unseen.axes"]))
            core.doubles.append(InsideDoubles.from_state(told["doubles"], _under("doubles.", own)))
            core.interactions.append(Interaction.from_state(told["interaction"], _under("interaction.", own)))
        return core

    def _guess(self, parts: Sequence[Part], context: int) -> NDArray[np.float64]:
        """Return what is expected of parts that were never seen alone (parts × genes)."""
        said = self.mean(context).astype(np.float64) + self.unseen[context].say(parts, self.vectors)
        for effect, part in zip(said, parts):
            self.own.set(effect, part, context)
        return said

    def _with_own(self, said: Rows, context: int) -> NDArray[np.float32]:
        for effect, part in zip(said, self.unseen[context].parts):
            self.own.set(effect, part, context)
        return said.astype(np.float32)


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _mean_of_others(seen: PartEffects) -> Rows:
    """Return, for every part seen alone, the mean effect of the others (parts × genes)."""
    n = len(seen.alone)
    alone = np.array([seen.alone[part] for part in sorted(seen.alone)], np.float64).reshape(n, len(seen.mean))
    return (alone.sum(0) - alone) / (n - 1) if n > 1 else np.zeros_like(alone)


def _trust(data: Bundle, noise: Rows, seen: PartEffects, context: int) -> Vector:
    """Return a weight per part seen alone: 1 / (1 + noise over the mean noise); 1 where the noise is not known."""
    level = {
        data.conditions[row].parts[0]: float(noise[row].mean())
        for row in data.training()
        if len(data.conditions[row].parts) == 1 and data.context[row] == context
    }
    found = np.array([level.get(part, np.nan) for part in sorted(seen.alone)])
    typical = np.nanmean(found) if np.isfinite(found).any() else 1.0
    return np.where(np.isfinite(found), 1 / (1 + found / max(typical, 1e-12)), 0.5)
