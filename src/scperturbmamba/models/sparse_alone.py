"""The core for tables of effects with gaps, as a predictor."""

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
from scperturbmamba.models.sparse import SparseKnowledge
from scperturbmamba.models.terms import Effects, State, Support, Terms


@dataclass
class SparseAlone:
    """What is known of perturbed genes and readout genes, for tables in which most entries may be unknown.

    Attributes
    ----------
    frame
        That of the table.
    core
        Fitted.
    """

    frame: Frame
    core: SparseKnowledge
    kind: ClassVar[str] = "sparse"

    @classmethod
    def fit(cls, data: Bundle, frame: Frame, *, random_state: int = 0) -> Self:
        """Learn from the training rows."""
        return cls(frame, SparseKnowledge(random_state).fit(data))

    @property
    def networks(self) -> Sequence[BiMamba]:
        """None: the core has a network per pair of its own."""
        return []

    @property
    def control(self) -> Effects:
        """(contexts × genes): the measured mean."""
        return self.frame.control

    def terms(self, conditions: Sequence[Condition], context: int) -> Terms:
        """Return what is said of no perturbation at all as the mean, and the rest as core."""
        total = self.core.predict(conditions, context=context)
        mean = np.repeat(self.core.predict([Condition()], context=context), len(total), axis=0)
        sd, multiples = self.core.errors(conditions, context=context)
        return Terms(mean, total - mean, np.zeros_like(total), sd, multiples.astype(np.float64))

    def rates(self, conditions: Sequence[Condition], context: int) -> tuple[Effects, Effects]:
        """Refuse: a table of effects has no counts."""
        msg = "a table of effects has no counts to sample."
        raise ValueError(msg)

    def support(self, condition: Condition, context: int) -> Support:
        """Return the sources that know nothing of a part."""
        return Support((), ())

    def with_context(self, name: str, control: Effects) -> None:
        """Refuse: nothing tells what is common to contexts."""
        msg = f"a table with gaps predicts in the contexts of its training alone; found {name!r}. Train with it."
        raise ValueError(msg)

    def learn_features(self, tables: Sequence[FeatureTable], frame: Frame) -> None:
        """Take in features of genes that were not known at training."""
        self.frame = frame
        self.core.learn_features(tables)

    def words(self) -> list[str]:
        """Return what is used, and what it is expected to gain."""
        return self.core.report()

    def state(self) -> State:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        return self.core.state()

    @classmethod
    def from_state(cls, frame: Frame, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        return cls(frame, SparseKnowledge.from_state(words, arrays))
