"""The words that models of the inverse task speak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.models.checkpoint import Checkpoint

Profiles = NDArray[np.float32]
Scores = NDArray[np.float64]
Sets = Sequence[tuple[int, ...]]

__all__ = [
    "InverseData",
    "InverseModel",
    "Profiles",
    "Scores",
    "SetModel",
    "Sets",
    "membership",
    "score_sets",
]


class InverseModel(Protocol):
    """A model that says which candidates were perturbed."""

    def fit(self, data: InverseData) -> Self:
        """Learn from the training cells."""
        ...

    def scores(self, x: Profiles, n_cells: NDArray[np.int64]) -> Scores:
        """Return a score (profiles × candidates) per candidate, higher is likelier; 0 says as likely as not.

        A profile is the mean log-normalised expression of ``n_cells`` cells; 1 is a single cell.
        """
        ...

    def state(self) -> Checkpoint:
        """Return all that the model has learned, as JSON and arrays."""
        ...

    @classmethod
    def from_state(cls, state: Checkpoint) -> Self:
        """Return the model that a state describes."""
        ...


@runtime_checkable
class SetModel(Protocol):
    """A model that has a score of its own for several candidates perturbed at once."""

    def set_scores(self, x: Profiles, n_cells: NDArray[np.int64], sets: Sets) -> Scores:
        """Return a score (profiles × sets) per set of candidates, against the control, which is the empty set."""
        ...


def score_sets(model: InverseModel, x: Profiles, n_cells: NDArray[np.int64], sets: Sets) -> Scores:
    """Return a score (profiles × sets) per set; of a model without one for sets, the sum over their candidates."""
    if isinstance(model, SetModel):
        return model.set_scores(x, n_cells, sets)
    scores = model.scores(x, n_cells)
    return scores @ membership(sets, scores.shape[1]).T


def membership(sets: Sets, n_candidates: int) -> NDArray[np.float64]:
    """Return (sets × candidates): 1 where a candidate is in a set."""
    result = np.zeros((len(sets), n_candidates))
    for row, one in enumerate(sets):
        result[row, list(one)] = 1
    return result
