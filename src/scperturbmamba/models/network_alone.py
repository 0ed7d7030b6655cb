"""The network without a core: it predicts the whole effect, as in the systems that came before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.models.stored_network import network_from, network_state
from scperturbmamba.models.terms import Effects, State, Support, Terms, named, under
from scperturbmamba.models.uncertainty import LeftOut, Uncertainty


@dataclass
class NetworkAlone:
    """A trained network, and its errors on the validation conditions.

    Attributes
    ----------
    network
        Trained.
    uncertainty
        Per context; nothing is known where there were no validation conditions.
    """

    network: BiMamba
    uncertainty: list[Uncertainty]
    kind: ClassVar[str] = "network"

    @classmethod
    def fit(cls, data: Bundle, network: BiMamba, frame: Frame, callbacks: Sequence[Any] = ()) -> Self:
        """Train on the training rows; the validation rows decide which weights are kept, and tell the errors."""
        network.fit(data, frame=frame, callbacks=callbacks)
        return cls(network, [_errors(data, network, context) for context in range(len(data.contexts))])

    @property
    def frame(self) -> Frame:
        """That of the network."""
        return self.network.frame

    @property
    def networks(self) -> Sequence[BiMamba]:
        """The one."""
        return [self.network]

    @property
    def control(self) -> Effects:
        """(contexts × genes): the measured mean."""
        return self.frame.control

    def terms(self, conditions: Sequence[Condition], context: int) -> Terms:
        """Return the effect as residual alone; of a network by itself the same is expected of every condition."""
        residual = self.network.predict(conditions, context=context)
        nothing, own = np.zeros_like(residual), self.uncertainty[context]
        treated = np.array([bool(one.parts) for one in conditions])[:, None]
        square = np.nan if own.errors is None else own.errors.square
        sd = np.where(treated, np.sqrt(square), 0 * residual).astype(np.float32)
        return Terms(nothing, nothing, residual, sd, np.tile(own.multiples(seen=False), (len(conditions), 1)))

    def rates(self, conditions: Sequence[Condition], context: int) -> tuple[Effects, Effects]:
        """Return changes of the log rate, and log dispersions."""
        return self.network.shifts(conditions, context)

    def support(self, condition: Condition, context: int) -> Support:
        """Return nothing: a network does not say what it thinks of."""
        return Support((), ())

    def with_context(self, name: str, control: Effects) -> None:
        """Refuse: nothing tells what is common to contexts."""
        msg = f"a network without a core predicts in the contexts of its training alone; found {name!r}. Train with it."
        raise ValueError(msg)

    def learn_features(self, tables: Sequence[FeatureTable], frame: Frame) -> None:
        """Take in features of genes that were not known at training."""
        self.network.frame = frame

    def words(self) -> list[str]:
        """Return that there is no core."""
        return ["no core: the network predicts the whole effect"]

    def state(self) -> State:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        words, arrays = network_state(self.network)
        errors = [one.state() for one in self.uncertainty]
        found = named("net", arrays)
        for number, (_, some) in enumerate(errors):
            found |= named(f"errors.{number}", some)
        return {"network": words, "errors": [one for one, _ in errors]}, found

    @classmethod
    def from_state(cls, frame: Frame, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        errors = [Uncertainty.from_state(one, under(f"errors.{n}", arrays)) for n, one in enumerate(words["errors"])]
        return cls(network_from(frame, words["network"], under("net", arrays)), errors)


def _errors(data: Bundle, network: BiMamba, context: int) -> Uncertainty:
    rows = np.flatnonzero(data.is_val & (data.context == context))
    if not len(rows):
        return Uncertainty.fit(data, context, None, {})
    off = data.delta[rows] - network.predict([data.conditions[row] for row in rows], context=context)
    return Uncertainty.fit(data, context, LeftOut(off.astype(np.float64), np.zeros(len(rows))), {})
