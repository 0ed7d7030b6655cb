"""The training cells that are nearest."""

from __future__ import annotations

import json
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.models.checkpoint import Checkpoint
from scperturbmamba.models.inverse.base import Profiles, Scores

_ARRAYS = ("centre", "axes", "places", "answer", "share")


class Neighbours:
    """Let the nearest training cells vote, each for its candidate; every class has the same weight in all.

    Parameters
    ----------
    n_neighbours
        How many cells vote.
    n_components
        Principal components in which near is measured.

    Attributes
    ----------
    centre, axes
        (genes,) and (components × genes) of the principal components of the training cells.
    places, answer
        (cells × components): where each training cell is; (cells,): its candidate, -1 for the control.
    share
        (candidates + 1,): share of the training cells, the control first.
    """

    def __init__(self, *, n_neighbours: int = 50, n_components: int = 50) -> None:
        self.n_neighbours, self.n_components = n_neighbours, n_components
        self.centre = self.axes = self.places = self.answer = self.share = np.zeros(0)

    def fit(self, data: InverseData) -> Self:
        """Keep the training cells that carry one candidate or none."""
        answer = np.where(data.is_val, -2, data.answer)
        used = answer > -2
        x = data.x[used]
        n_components = min(self.n_components, *(length - 1 for length in x.shape))
        components = PCA(max(n_components, 1), svd_solver="covariance_eigh").fit(x)
        self.centre, self.axes = components.mean_, components.components_
        self.places, self.answer = self._place(x), answer[used]
        self.share = np.bincount(self.answer + 1, minlength=len(data.candidates) + 1) / used.sum()
        return self

    def scores(self, x: Profiles, n_cells: NDArray[np.int64]) -> Scores:
        """Return log ratios (profiles × candidates) of the votes for a candidate to those for the control."""
        n_neighbours = min(self.n_neighbours, len(self.places))
        nearest = NearestNeighbors(n_neighbors=n_neighbours).fit(self.places)
        voters = self.answer[nearest.kneighbors(self._place(x), return_distance=False)] + 1
        votes = np.apply_along_axis(np.bincount, 1, voters, minlength=len(self.share)).astype(np.float64)
        expected = n_neighbours * self.share
        weighed = (votes + expected.mean()) / (expected + expected.mean())
        return np.log(weighed[:, 1:] / weighed[:, :1])

    def state(self) -> Checkpoint:
        """Return the training cells in their components."""
        settings = {"n_neighbours": self.n_neighbours, "n_components": self.n_components}
        return Checkpoint(json.dumps(settings), {name: np.asarray(getattr(self, name)) for name in _ARRAYS})

    @classmethod
    def from_state(cls, state: Checkpoint) -> Self:
        """Return the model of these cells."""
        model = cls(**json.loads(state.description))
        for name in _ARRAYS:
            setattr(model, name, np.asarray(state.arrays[name]))
        return model

    def _place(self, x: Profiles) -> NDArray[np.float64]:
        """Return directions from the mean cell: a mean of many cells lies nearer to it than any of them."""
        place = np.asarray((x - self.centre) @ self.axes.T, dtype=np.float64)
        return place / np.maximum(np.sqrt(np.square(place).sum(1, keepdims=True)), 1e-12)
