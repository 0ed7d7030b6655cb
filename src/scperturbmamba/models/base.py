"""What every model is: it fits a bundle and predicts the effects of conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition


class Predicts(Protocol):
    """What has learned."""

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return the effects (conditions × genes) in a context, in the scale of X, against its control."""
        ...


@runtime_checkable
class KnowsControl(Protocol):
    """What has an estimate of its own of the control expression, to which its effects are added."""

    @property
    def control(self) -> NDArray[np.float32]:
        """(contexts × genes), scale of X."""
        ...


class Model(Predicts, Protocol):
    """A baseline or the core: it learns from a bundle alone."""

    def fit(self, data: Bundle) -> Self:
        """Learn from the training rows of a bundle."""
        ...
