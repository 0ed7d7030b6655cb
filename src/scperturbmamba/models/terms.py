"""A prediction in its parts, and who makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.neural import BiMamba

Effects = NDArray[np.float32]
State = tuple[dict[str, Any], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Terms:
    """Effects as a sum, each term (conditions × genes), scale of X.

    Attributes
    ----------
    mean, core, residual
        What adds up to the effect.
    sd
        Standard deviation of a measurement as deep as those of the training screen; NaN where it is not known.
    multiples
        (conditions × levels): how many of them hold each of ``uncertainty.LEVELS``.
    """

    mean: Effects
    core: Effects
    residual: Effects
    sd: Effects
    multiples: NDArray[np.float64]

    @property
    def delta(self) -> Effects:
        """The effect."""
        return np.asarray(self.mean + self.core + self.residual, np.float32)


@dataclass(frozen=True)
class Support:
    """On what the prediction of a condition rests.

    Attributes
    ----------
    nearest
        The training perturbations that its new parts are most like.
    missing
        Feature sources that know nothing of one of them.
    """

    nearest: tuple[str, ...]
    missing: tuple[str, ...]


class Speaker(Protocol):
    """What predicts, within the frame of a screen."""

    kind: ClassVar[str]

    @property
    def frame(self) -> Frame:
        """What is known of the screen."""
        ...

    @property
    def control(self) -> Effects:
        """(contexts × genes): the expression that effects are added to, scale of X."""
        ...

    def terms(self, conditions: Sequence[Condition], context: int) -> Terms:
        """Return effects in their terms."""
        ...

    def rates(self, conditions: Sequence[Condition], context: int) -> tuple[Effects, Effects]:
        """Return changes of the log rate, and log dispersions (conditions × genes), for the ``nb`` head."""
        ...

    def support(self, condition: Condition, context: int) -> Support:
        """Return on what a prediction rests."""
        ...

    def learn_features(self, tables: Sequence[FeatureTable], frame: Frame) -> None:
        """Take in features of genes that were not known at training."""
        ...

    def with_context(self, name: str, control: Effects) -> None:
        """Take in a context of which only the control (genes,) is known; raise ValueError where that tells nothing."""
        ...

    @property
    def networks(self) -> Sequence[BiMamba]:
        """The networks that speak."""
        ...

    def words(self) -> list[str]:
        """Return what is switched on, and what it is expected to gain."""
        ...

    def state(self) -> State:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        ...

    @classmethod
    def from_state(cls, frame: Frame, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Speaker:
        """Make it again."""
        ...


def named(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Put a prefix before the name of every array."""
    return {f"{prefix}.{name}": value for name, value in arrays.items()}


def under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays whose name has a prefix, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}
