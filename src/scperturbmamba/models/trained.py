"""A trained predictor: the frame of its screen, and what speaks in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.engine.kernels import Engine
from scperturbmamba.models.core_residual import CoreAndResidual
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.network_alone import NetworkAlone
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.models.residual import Callbacks, Residual, residual_config
from scperturbmamba.models.sparse import is_sparse
from scperturbmamba.models.sparse_alone import SparseAlone
from scperturbmamba.models.terms import Effects, Speaker, Support, Terms

_AT_ONCE = 256  # conditions predicted at once


@dataclass
class Trained:
    """Control + mean + core + gated residual, or what of it was asked for.

    Attributes
    ----------
    speaker
        What predicts.
    """

    speaker: Speaker

    @classmethod
    def of(
        cls,
        data: Bundle,
        net: NetConfig,
        training: TrainConfig,
        *,
        with_network: bool = True,
        random_state: int = 0,
        device: str = "auto",
        engine: Engine = "auto",
        callbacks: Callbacks = lambda _: (),
    ) -> Self:
        """Train the core with networks on what it leaves over, the core alone, or (``net.core`` None) a network alone.

        A table with gaps has a core of its own, and no network beside it.
        """
        frame = Frame.of(data, order=net.order)
        where = (random_state, device, engine)
        if net.core is None:
            return cls(NetworkAlone.fit(data, BiMamba(net, training, *where), frame, callbacks("network")))
        if is_sparse(data):
            return cls(SparseAlone.fit(data, frame, random_state=random_state))
        residual = Residual(residual_config(net, len(data.genes)), training, *where) if with_network else None
        return cls(CoreAndResidual.fit(data, frame, residual, random_state=random_state, callbacks=callbacks))

    @property
    def frame(self) -> Frame:
        """What is known of the screen."""
        return self.speaker.frame

    @property
    def control(self) -> Effects:
        """(contexts × genes): the expression that effects are added to, scale of X."""
        return self.speaker.control

    def terms(self, conditions: Sequence[Condition], *, context: int = 0) -> Terms:
        """Return effects in their terms, and how far they may be off."""
        return self.speaker.terms(conditions, context)

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> Effects:
        """Return effects (conditions × genes), scale of X."""
        return self.terms(conditions, context=context).delta

    def stream(self, conditions: Sequence[Condition], *, context: int = 0) -> Iterator[Effects]:
        """Yield what :meth:`predict` returns, some rows at a time, in order."""
        if isinstance(self.speaker, NetworkAlone):
            yield from self.speaker.network.stream(conditions, context=context)
            return
        for start in range(0, len(conditions), _AT_ONCE):
            yield self.predict(conditions[start : start + _AT_ONCE], context=context)

    def sample(
        self, conditions: Sequence[Condition], n_cells: int, *, context: int = 0, random_state: int = 0
    ) -> NDArray[np.float32]:
        """Draw raw counts of cells (conditions, cells, genes) from negative binomials.

        Raises
        ------
        ValueError
            The head is not ``nb``.
        """
        counts = self.frame.count_model
        if counts is None:
            msg = 'sampled cells need the counts head; train with `net={"head": "nb"}`.'
            raise ValueError(msg)
        return counts.sample(*self.speaker.rates(conditions, context), n_cells, context, random_state)

    def support(self, condition: Condition, *, context: int = 0) -> Support:
        """Return on what a prediction rests."""
        return self.speaker.support(condition, context)

    def learn_features(self, tables: Sequence[FeatureTable]) -> None:
        """Take in features of genes that were not known at training, from tables of the same sources."""
        if tables:
            self.speaker.learn_features(tables, self.frame.with_encoder(self.frame.encoder.extended(tables)))

    def add_context(self, name: str, control: NDArray[np.float32]) -> int:
        """Take in a context of which only the control (genes,) is known, and return its number.

        Raises
        ------
        ValueError
            What speaks cannot be moved to another context.
        """
        self.speaker.with_context(name, control)
        return len(self.frame.contexts) - 1

    def run_on(self, device: str, engine: Engine) -> None:
        """Choose where the networks run, and what scans."""
        for network in self.speaker.networks:
            network.device, network.engine = device, engine
