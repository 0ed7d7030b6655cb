"""The predictor that is trained by default: mean + knowledge core + gated residual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.models.part_effects import PartEffects
from scperturbmamba.models.residual import Callbacks, Residual
from scperturbmamba.models.terms import Effects, State, Support, Terms, named, under
from scperturbmamba.models.uncertainty import LeftOut, Uncertainty

_NEAREST = 3  # training perturbations that are named


@dataclass
class CoreAndResidual:
    """The knowledge core, networks on what it leaves over, and how far both may be off.

    Attributes
    ----------
    frame
        That of the screen.
    core
        Fitted.
    residual
        Fitted; None for the core alone.
    uncertainty
        Per context.
    elsewhere
        That of a context in which nothing was measured, from contexts left out; None where there was one alone.
    """

    frame: Frame
    core: Knowledge
    residual: Residual | None
    uncertainty: list[Uncertainty] = field(default_factory=list)
    elsewhere: Uncertainty | None = None
    kind: ClassVar[str] = "core"

    @classmethod
    def fit(
        cls,
        data: Bundle,
        frame: Frame,
        residual: Residual | None,
        *,
        random_state: int = 0,
        callbacks: Callbacks = lambda _: (),
    ) -> Self:
        """Learn from the training rows; the validation rows decide which weights of a network are kept."""
        core = Knowledge(random_state).fit(data)
        if residual is not None:
            residual.fit(data, core, frame, callbacks=callbacks)
        data = data.against(core.control)
        found = cls(frame, core, residual)
        found.uncertainty = [
            Uncertainty.fit(
                data, context, found._left_out(data, context), found._sums(data, context), core.around(context)
            )
            for context in range(len(data.contexts))
        ]
        if len(set(data.context[data.training()])) > 1:
            outside = len(data.contexts)
            found.elsewhere = Uncertainty.fit(data, outside, found._left_out(data, outside), {})
        return found

    @property
    def networks(self) -> Sequence[BiMamba]:
        """Those of the residual."""
        return self.residual.networks if self.residual is not None else []

    @property
    def control(self) -> Effects:
        """(contexts × genes): the expression that effects are added to, with less noise than the measured mean."""
        return self.core.control

    def terms(self, conditions: Sequence[Condition], context: int) -> Terms:
        """Return the mean effect, what the core says beside it, and the residual of parts never seen alone."""
        total = self.core.predict(conditions, context=context)
        mean = self.core.means(conditions, context)
        new = self.core.effects[context].new_parts(conditions)
        place = {part: number for number, part in enumerate(new)}
        said, spread = self._residual(new, context)
        residual = np.zeros_like(total)
        for row, condition in enumerate(conditions):
            for part in condition.parts:
                residual[row] += said[place[part]] if part in place else 0
        own = self.uncertainty[context]
        variance = own.variance(conditions, place, own.of_new(self._nearest(new, context)) + np.square(spread))
        seen = [all(part not in place for part in one.parts) for one in conditions]
        multiples = np.array([own.multiples(seen=one) for one in seen])
        return Terms(mean, total - mean, residual, np.sqrt(variance).astype(np.float32), multiples)

    def with_context(self, name: str, control: NDArray[np.float32]) -> None:
        """Take in a context of which only the control (genes,) is known; networks say nothing there."""
        self.frame = self.frame.with_context(name, control)
        self.core.add_context(name, control)
        self.uncertainty.append(self.elsewhere or Uncertainty(None, {}, {}, np.full(len(control), np.nan)))

    def rates(self, conditions: Sequence[Condition], context: int) -> tuple[Effects, Effects]:
        """Return changes of the log rate that give the effects, and log dispersions: those of the networks, if any."""
        counts = self.frame.count_model
        if counts is None:
            msg = "log rates need the counts head."
            raise RuntimeError(msg)
        if context >= len(counts.log_rate):
            msg = "counts are drawn in the contexts of the training; leave `n_cells` out, or train with this one."
            raise ValueError(msg)
        moved = (self.control - self.frame.control)[context]
        delta = self.terms(conditions, context).delta + moved  # rates are told from the measured mean
        log_r = np.repeat(counts.log_dispersion[None], len(conditions), axis=0)
        alone = [row for row, one in enumerate(conditions) if len(one.parts) == 1]
        if self.residual is not None and self.residual.networks and alone:
            log_r[alone] = self.residual.log_dispersion([conditions[row] for row in alone], self.core, context)
        return counts.to_shift(delta, np.full(len(delta), context)), log_r

    def support(self, condition: Condition, context: int) -> Support:
        """Return the nearest training perturbations of the new parts, and the sources that do not know them."""
        new = self.core.effects[context].new_parts([condition])
        known, likeness = self.core.neighbours(new, context)
        best = likeness.max(0) if len(new) and len(known) else np.zeros(len(known))
        order = [row for row in np.argsort(-best, kind="stable") if best[row] > 0]
        nearest = list(dict.fromkeys(known[row].name for row in order))[:_NEAREST]
        missing = sorted({source for part in new for source in self.core.missing_sources(part)})
        return Support(tuple(nearest), tuple(missing))

    def learn_features(self, tables: Sequence[FeatureTable], frame: Frame) -> None:
        """Take in features of genes that were not known at training."""
        self.frame = frame
        self.core.learn_features(tables)
        if self.residual is not None:
            self.residual.take_frame(frame)

    def words(self) -> list[str]:
        """Return what is switched on, and what it is expected to gain."""
        return [*self.core.report(), *([self.residual.words()] if self.residual is not None else [])]

    def state(self) -> State:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        core, arrays = self.core.state()
        found = named("core", arrays)
        words: dict[str, Any] = {"core": core, "residual": None, "errors": []}
        if self.residual is not None:
            words["residual"], arrays = self.residual.state()
            found |= named("residual", arrays)
        for number, one in enumerate(self.uncertainty):
            told, arrays = one.state()
            words["errors"].append(told)
            found |= named(f"errors.{number}", arrays)
        if self.elsewhere is not None:
            words["elsewhere"], arrays = self.elsewhere.state()
            found |= named("elsewhere", arrays)
        return words, found

    @classmethod
    def from_state(cls, frame: Frame, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        core = Knowledge.from_state(words["core"], under("core", arrays))
        told = words["residual"]
        residual = None if told is None else Residual.from_state(frame, told, under("residual", arrays))
        errors = [Uncertainty.from_state(one, under(f"errors.{n}", arrays)) for n, one in enumerate(words["errors"])]
        told = words.get("elsewhere")
        elsewhere = None if told is None else Uncertainty.from_state(told, under("elsewhere", arrays))
        return cls(frame, core, residual, errors, elsewhere)

    def _residual(self, new: Sequence[Part], context: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what networks say of parts of which nothing was measured, and its spread (parts × genes)."""
        said, spread = np.zeros((2, len(new), len(self.core.genes)))
        unknown = [row for row, part in enumerate(new) if not self.core.knows(part)]
        if self.residual is not None and unknown and context < self.residual.n_contexts:
            said[unknown], spread[unknown] = self.residual.say([new[row] for row in unknown], self.core, context)
        return said, spread

    def _nearest(self, parts: Sequence[Part], context: int) -> NDArray[np.float64]:
        _, likeness = self.core.neighbours(parts, context)
        return likeness.max(1) if likeness.size else np.zeros(len(parts))

    def _left_out(self, data: Bundle, context: int) -> LeftOut | None:
        """Return the errors on training parts, each foreseen without its own cells."""
        tried = self.core.trials(context)
        if not tried.parts:
            return None
        said = tried.said
        if self.residual is not None:
            said = said + tried.without_name[:, None] * self.residual.foreseen(tried.parts, context)
        measured = {place: PartEffects.of(data, int(place)).alone for place in np.unique(tried.context)}
        truth = np.array([measured[place][part] for part, place in zip(tried.parts, tried.context)], np.float64)
        return LeftOut(truth - said, tried.nearest, ~tried.without_name)

    def _sums(self, data: Bundle, context: int) -> dict[int, NDArray[np.float64]]:
        """Return what is said of the training combinations whose parts were all seen alone, by row."""
        seen = self.core.effects[context]
        rows = [row for row in data.training() if len(data.conditions[row].parts) > 1 and data.context[row] == context]
        rows = [row for row in rows if seen.covers(data.conditions[row])]
        said = self.core.predict([data.conditions[row] for row in rows], context=context)
        return dict(zip(map(int, rows), said.astype(np.float64)))
