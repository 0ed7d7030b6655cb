"""The knowledge core: shrunken effects, kernels over gene features, and a gate that opens only where they help."""

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
from scperturbmamba.data.kinds import DRUG, direction
from scperturbmamba.models.encoding import described_by
from scperturbmamba.models.gate import Vector
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.inside_doubles import InsideDoubles
from scperturbmamba.models.interaction import Interaction
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.own_change import OwnChange
from scperturbmamba.models.part_effects import PartEffects, in_every_context
from scperturbmamba.models.shrinkage import cell_noise, shrunk
from scperturbmamba.models.surface import Surface, SurfaceHere, is_surface
from scperturbmamba.models.trials import Foresight, Trials
from scperturbmamba.models.unseen import Unseen

_OTHER_KIND = 0.5  # of an effect that is expected of another kind of perturbation, where nothing was measured of it


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
        self.own = OwnChange.fit(data)
        self.sources = [table.source for table in described_by(data.features)]
        vectors = [GeneVectors.of(data, source) for source in self.sources]
        self.vectors = [one.shuffled(self.random_state) for one in vectors] if self.shuffled else vectors
        self._foresee(data, noise)
        self.doubles = [InsideDoubles.fit(data, seen, noise, context) for context, seen in enumerate(self.effects)]
        self.interactions = [
            Interaction.fit(data, seen, context, self._rng()) for context, seen in enumerate(self.effects)
        ]
        return self

    def _foresee(self, data: Bundle, noise: Rows) -> None:
        """Draw measured effects to what is expected of them, and learn what to expect of parts never seen alone."""
        self.effects = in_every_context(shrunk(data, noise))
        self.surface, self.unseen = None, []
        if is_surface(data):
            self.surface = Surface.fit(data, noise, self.vectors, self._rng())
            self.effects = [self.surface.effects(seen, n, self.vectors) for n, seen in enumerate(self.effects)]
            self.unseen = self._views()
            return
        for context, seen in enumerate(self.effects):
            self.unseen.append(Unseen.fit(seen, context, self.vectors, _trust(data, noise, seen, context), self._rng()))

    def _views(self) -> list[Foresight]:
        """Return the surface as it is seen from every context."""
        if self.surface is None:
            return []
        return [SurfaceHere.of(self.surface, seen, context) for context, seen in enumerate(self.effects)]

    def elsewhere(self) -> Foresight:
        """Return the surface as it is seen from a context in which nothing was measured."""
        if self.surface is None:
            msg = "one context tells nothing of others."
            raise RuntimeError(msg)
        return SurfaceHere(self.surface, len(self.effects), (), np.zeros(0, np.int64))

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
        said = self.unseen[context].means(parts, self.vectors)
        found = np.zeros((len(conditions), len(self.genes)), np.float32)
        for row, condition in enumerate(conditions):
            if condition.parts:
                found[row] = said[[place[part] for part in condition.parts]].mean(0)
        return found

    def left_out(self, context: int) -> tuple[tuple[Part, ...], NDArray[np.float32]]:
        """Return the parts seen alone, and what is said of each without its own effect (parts × genes)."""
        unseen = self.unseen[context]
        return unseen.parts, self._with_own(unseen.left_out(), unseen.parts, context).astype(np.float32)

    def trials(self, context: int) -> Trials:
        """Return what was said of parts seen alone by those that had not seen them and chose without them."""
        found = self.elsewhere().trials() if context >= len(self.unseen) else self.unseen[context].trials()
        said = found.said.copy()
        for effect, part, where in zip(said, found.parts, found.context):
            self.own.set(effect, part, int(where))
        return replace(found, said=said)

    def around(self, context: int) -> dict[Part, Rows]:
        """Return the variance (genes,) of measurements around the surface, by the parts seen alone; none without."""
        if self.surface is None:
            return {}
        return {
            part: noise
            for part, at, noise in zip(self.surface.parts, self.surface.context, self.surface.noise)
            if at == context
        }

    def neighbours(self, parts: Sequence[Part], context: int) -> tuple[tuple[Part, ...], Rows]:
        """Return what was measured, and how alike parts are to it (parts × measured); -1 of a part with itself."""
        return self.unseen[context].neighbours(parts, self.vectors)

    def knows(self, part: Part, context: int) -> bool:
        """Tell whether another dose, kind or context of a part was measured."""
        return self.unseen[context].knows(part)

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

        A surface tells what is common to all contexts; what was learned in one alone holds as it is.
        """
        self.own = replace(self.own, control=np.vstack([self.own.control, control[None]]))
        if self.surface is None:
            self.effects.append(self.effects[0])
            self.unseen.append(self.unseen[0])
            self.doubles.append(self.doubles[0])
            self.interactions.append(self.interactions[0])
            return
        self.surface = replace(self.surface, scene=self.surface.scene.with_context(name))
        self.effects.append(PartEffects({}, np.mean([one.mean for one in self.effects], axis=0)))
        self.unseen = self._views()
        self.doubles.append(InsideDoubles({}, {}))
        self.interactions.append(Interaction.none(len(self.genes)))

    def report(self) -> list[str]:
        """Return in words, per context, whether the kernels speak, which, and what they are expected to gain."""
        told = [(one.words(self.sources), both.words()) for one, both in zip(self.unseen, self.interactions)]
        if self.surface is not None:
            return list(dict.fromkeys(word for pair in told for word in pair if word))
        return ["; ".join(filter(None, pair)) for pair in told]

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
            states = {"effects": seen.state(), "doubles": doubles.state(), "interaction": both.state()}
            if isinstance(unseen, Unseen):
                states["unseen"] = unseen.state()
            for name, (_, found) in states.items():
                arrays |= {f"{number}.{name}.{key}": value for key, value in found.items()}
            words["contexts"].append({name: told for name, (told, _) in states.items()})
        if self.surface is not None:
            words["surface"], found = self.surface.state()
            arrays |= {f"surface.{key}": value for key, value in found.items()}
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
        told = words.get("surface")
        core.surface = None if told is None else Surface.from_state(told, _under("surface.", arrays))
        core.effects, core.unseen, core.doubles, core.interactions = [], [], [], []
        for number, told in enumerate(words["contexts"]):
            prefix = f"{number}."
            own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
            seen = PartEffects.from_state(told["effects"], _under("effects.", own))
            core.effects.append(seen)
            if "unseen" in told:
                core.unseen.append(Unseen.from_state(seen, number, core.vectors, told["unseen"], own["unseen.axes"]))
            core.doubles.append(InsideDoubles.from_state(told["doubles"], _under("doubles.", own)))
            core.interactions.append(Interaction.from_state(told["interaction"], _under("interaction.", own)))
        core.unseen = core.unseen or core._views()
        return core

    def _guess(self, parts: Sequence[Part], context: int) -> Rows:
        """Return what is expected of parts that were never seen alone (parts × genes)."""
        return self._with_own(self._expect(parts, context), parts, context)

    def _expect(self, parts: Sequence[Part], context: int) -> Rows:
        """Return effects before the perturbed genes' own changes; one of another kind than was screened is turned."""
        if self.surface is not None:
            return self.unseen[context].expect(parts, self.vectors)
        seen = self.effects[context]
        kind = next((part.kind for part in seen.alone), "")
        screened = [replace(part, kind=kind) for part in parts]
        said = self.unseen[context].expect(screened, self.vectors)
        for row, (part, same) in enumerate(zip(parts, screened)):
            if part != same:
                effect = seen.alone[same] if same in seen.alone else said[row]
                factor = _OTHER_KIND * (direction(part.kind) * direction(kind) or 1)
                said[row] = seen.mean + factor * (effect - seen.mean)
        return said

    def _with_own(self, said: Rows, parts: Sequence[Part], context: int) -> Rows:
        for effect, part in zip(said, parts):
            self.own.set(effect, part, context)
        return said


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


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
