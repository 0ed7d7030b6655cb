"""The knowledge core: a response surface over what was measured, combinations, and what a target does to itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba._keys import DRUG_PREFIX
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.data.kinds import DRUG
from scperturbmamba.models.encoding import described_by
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.inside_doubles import InsideDoubles
from scperturbmamba.models.interaction import Interaction
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.own_change import OwnChange
from scperturbmamba.models.part_effects import PartEffects, in_every_context
from scperturbmamba.models.shrinkage import cell_noise
from scperturbmamba.models.surface import Surface, SurfaceHere
from scperturbmamba.models.trials import Trials


@dataclass
class Knowledge:
    """Predict unseen genes from what is known of them, and seen ones from their effects without the noise.

    A response surface says what every part does: one that was measured does that, drawn to what all others tell as far
    as it is noise; one that was not does what all do, and what features tell behind a gate, corrected by training
    combinations that hold it beside seen parts. Combinations are sums, with an interaction where training combinations
    support one. The perturbed gene's own change is learned from the screen. The noise of the control cells lies in all
    measured effects alike: what is found of it moves from the effects to ``control`` (contexts × genes), scale of X.

    Per context, ``measured`` are the effects of parts as they were measured, and ``effects`` what is said of them.

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
        self.sources = [table.source for table in described_by(data.features)]
        vectors = [GeneVectors.of(data, source) for source in self.sources]
        self.vectors = [one.shuffled(self.random_state) for one in vectors] if self.shuffled else vectors
        self.surface = Surface.fit(data, noise, self.vectors, self._rng())
        self.genes = data.genes
        self.control = np.maximum(data.control + self.surface.control, 0).astype(np.float32)
        data = data.against(self.control)
        self.own = OwnChange.fit(data)
        self.measured = in_every_context(data)
        self._settle()
        self.doubles = [InsideDoubles.fit(data, seen, noise, context) for context, seen in enumerate(self.effects)]
        self.interactions = [
            Interaction.fit(data, seen, context, self._rng()) for context, seen in enumerate(self.effects)
        ]
        return self

    def _settle(self) -> None:
        """Say what every part does where it was measured, and look at the surface from every context."""
        self.effects = [self.surface.effects(one, context, self.vectors) for context, one in enumerate(self.measured)]
        self.here = [SurfaceHere.of(self.surface, seen, context) for context, seen in enumerate(self.effects)]

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self.random_state)

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

    def means(self, conditions: Sequence[Condition], context: int) -> NDArray[np.float32]:
        """Return what any perturbation does at the doses of conditions (conditions × genes); the control nothing."""
        parts = sorted({part for one in conditions for part in one.parts})
        place = {part: row for row, part in enumerate(parts)}
        said = self.here[context].means(parts, self.vectors)
        found = np.zeros((len(conditions), len(self.genes)), np.float32)
        for row, condition in enumerate(conditions):
            if condition.parts:
                found[row] = said[[place[part] for part in condition.parts]].mean(0)
        return found

    def left_out(self, context: int) -> tuple[tuple[Part, ...], NDArray[np.float32]]:
        """Return the parts seen alone, and what is said of each without its own effect (parts × genes)."""
        here = self.here[context]
        return here.parts, self._with_own(here.left_out(), here.parts, context).astype(np.float32)

    def trials(self, context: int) -> Trials:
        """Return what was said of parts seen alone by those that had not seen them and chose without them."""
        found = self.elsewhere().trials() if context >= len(self.here) else self.here[context].trials()
        said = found.said.copy()
        for effect, part, where in zip(said, found.parts, found.context):
            self.own.set(effect, part, int(where))
        return replace(found, said=said)

    def elsewhere(self) -> SurfaceHere:
        """Return the surface as it is seen from a context in which nothing was measured."""
        return SurfaceHere(self.surface, len(self.effects), (), np.zeros(0, np.int64), self.mean(0))

    def around(self, context: int) -> dict[Part, Rows]:
        """Return the variance (genes,) of measurements around the surface, by the parts seen alone.

        Where nothing was measured twice it cannot be told from what one perturbation does alone, and none is returned.
        """
        if len(self.surface.names) == len(self.surface.parts):
            return {}
        measured = zip(self.surface.parts, self.surface.context, self.surface.noise)
        return {part: noise for part, at, noise in measured if at == context}

    def neighbours(self, parts: Sequence[Part], context: int) -> tuple[tuple[Part, ...], Rows]:
        """Return what was measured, and how alike parts are to it (parts × measured); -1 of a part with itself."""
        return self.here[context].neighbours(parts, self.vectors)

    def knows(self, part: Part) -> bool:
        """Tell whether a part, another dose or kind of it, or the same in another context was measured."""
        return part.name in self.surface.names

    def missing_sources(self, part: Part) -> list[str]:
        """Return the sources that should know a part and do not: of drugs for a drug, of genes for all else."""
        is_drug = part.kind == DRUG or part.dose is not None
        return [
            name
            for name, one in zip(self.sources, self.vectors)
            if part.name not in one.place and name.startswith(DRUG_PREFIX) == is_drug
        ]

    def learn_features(self, tables: Sequence[FeatureTable]) -> None:
        """Take in features of genes that were not known at training, from tables of the same sources."""
        by_source = {table.source: table for table in tables}
        self.vectors = [one.extended([by_source[name]], self.genes) for name, one in zip(self.sources, self.vectors)]

    def add_context(self, name: str, control: NDArray[np.float32]) -> None:
        """Take in a context of which only the control (genes,) is known.

        A surface over several contexts tells what is common to them; what was learned in one alone holds as it is.
        """
        several = len(self.surface.scene.contexts) > 1
        self.control = np.vstack([self.control, control[None]])
        self.own = replace(self.own, control=np.vstack([self.own.control, control[None]]))
        if several:
            self.surface = replace(self.surface, scene=self.surface.scene.with_context(name))
            self.measured.append(PartEffects({}, np.mean([one.mean for one in self.measured], axis=0)))
            self.doubles.append(InsideDoubles({}, {}))
            self.interactions.append(Interaction.none(len(self.genes)))
            self._settle()
            return
        self.measured.append(self.measured[0])
        self.effects.append(self.effects[0])
        self.here.append(self.here[0])
        self.doubles.append(self.doubles[0])
        self.interactions.append(self.interactions[0])

    def report(self) -> list[str]:
        """Return in words whether features speak, which, what they are expected to gain, and of interactions."""
        both = dict.fromkeys(one.words() for one in self.interactions)
        return [*self.surface.words(self.sources), *filter(None, both)]

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
        for number, (seen, doubles, both) in enumerate(zip(self.measured, self.doubles, self.interactions)):
            states = {"measured": seen.state(), "doubles": doubles.state(), "interaction": both.state()}
            for name, (_, found) in states.items():
                arrays |= {f"{number}.{name}.{key}": value for key, value in found.items()}
            words["contexts"].append({name: told for name, (told, _) in states.items()})
        words["surface"], found = self.surface.state()
        return words, arrays | {f"surface.{key}": value for key, value in found.items()}

    @classmethod
    def from_state(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        core = cls(words["random_state"], words["shuffled"])
        core.sources, core.genes = list(words["sources"]), tuple(words["measured"])
        core.control = arrays["own.control"]
        core.own = OwnChange(words["own"]["place"], core.control, words["own"]["ratio"])
        core.vectors = [
            GeneVectors(
                {name: row for row, name in enumerate(names)}, arrays[f"vectors.{n}"], arrays.get(f"vector_axes.{n}")
            )
            for n, names in enumerate(words["genes"])
        ]
        core.surface = Surface.from_state(words["surface"], _under("surface.", arrays))
        core.measured, core.doubles, core.interactions = [], [], []
        for number, told in enumerate(words["contexts"]):
            own = _under(f"{number}.", arrays)
            core.measured.append(PartEffects.from_state(told["measured"], _under("measured.", own)))
            core.doubles.append(InsideDoubles.from_state(told["doubles"], _under("doubles.", own)))
            core.interactions.append(Interaction.from_state(told["interaction"], _under("interaction.", own)))
        core._settle()
        return core

    def _guess(self, parts: Sequence[Part], context: int) -> Rows:
        """Return what is expected of parts that were never seen alone (parts × genes)."""
        return self._with_own(self.here[context].expect(parts, self.vectors), parts, context)

    def _with_own(self, said: Rows, parts: Sequence[Part], context: int) -> Rows:
        for effect, part in zip(said, parts):
            self.own.set(effect, part, context)
        return said


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
