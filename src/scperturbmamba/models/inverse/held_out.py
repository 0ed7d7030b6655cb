"""What a model says of training cells it has not seen, to calibrate it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.data.units import ALL, Size, draw_units
from scperturbmamba.models.inverse.answers import best_thresholds
from scperturbmamba.models.inverse.base import InverseModel, Scores
from scperturbmamba.models.inverse.effects import reliability
from scperturbmamba.models.inverse.posterior import Posterior

SIZES: Final[tuple[Size, ...]] = (1, 10, 50, ALL)
_FOLDS = 3
_MOST = 20  # units of a size of one condition


@dataclass(frozen=True)
class HeldOut:
    """Scores of profiles whose cells were not trained on.

    Attributes
    ----------
    scores
        (profiles × candidates).
    answer
        (profiles,): the candidate that was perturbed, -1 for the control.
    n_cells, size
        (profiles,): cells of each; place in the sizes asked for.
    """

    scores: Scores
    answer: NDArray[np.int64]
    n_cells: NDArray[np.int64]
    size: NDArray[np.int64]

    @property
    def weight(self) -> NDArray[np.float64]:
        """(profiles,): every condition counts the same in every size."""
        pairs = np.column_stack([self.answer, self.size])
        _, place, count = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        return 1.0 / count[place.ravel()]


def folds(data: InverseData, rng: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
    """Yield which cells are held out: one batch after another, or thirds of each condition where there is one batch."""
    batches = np.unique(data.batch)
    if len(batches) > 1:
        group = np.searchsorted(batches, data.batch) % max(2, min(_FOLDS, len(batches)))
    else:
        group = np.zeros(len(data.batch), np.int64)
        for one in np.unique(data.condition):
            cells = rng.permutation(np.flatnonzero(data.condition == one))
            group[cells] = np.arange(len(cells)) % _FOLDS
    for number in np.unique(group):
        yield group == number


def validate(data: InverseData, rng: np.random.Generator) -> InverseData:
    """Return the data with a validation side: the one it has, or the first of the folds."""
    return data if data.is_val.any() else replace(data, is_val=next(folds(data, rng)))


def held_out_scores(model: InverseModel, data: InverseData, rng: np.random.Generator) -> HeldOut:
    """Score units of the validation cells with a model that was fitted on the others.

    Units of control cells are of at most half of those of their batch, because the centre of a batch is their mean.
    """
    answer = np.where(data.is_val, data.answer, -2)
    group = np.where(answer > -2, (answer + 1) * (int(data.batch.max(initial=0)) + 1) + data.batch, -1)
    units = draw_units(data.x, group, SIZES, most=_MOST, rng=rng)
    found = units.group // (int(data.batch.max(initial=0)) + 1) - 1
    n_control = np.bincount(data.batch[(answer == -1)], minlength=int(data.batch.max(initial=0)) + 1)
    own = n_control[units.group % (int(data.batch.max(initial=0)) + 1)]
    kept = (found >= 0) | (2 * units.n_cells <= own)
    scores = model.scores(units.x[kept], units.n_cells[kept]) if kept.any() else np.zeros((0, len(data.candidates)))
    return HeldOut(scores, found[kept], units.n_cells[kept], units.size[kept])


def cross_fitted(build: Callable[[], InverseModel], data: InverseData, rng: np.random.Generator) -> HeldOut:
    """Score every training cell with a model that was fitted on the other folds."""
    parts = []
    for held in folds(data, rng):
        inner = replace(data, is_val=held)
        if _can_be_fitted(inner):
            parts.append(held_out_scores(build().fit(inner), inner, rng))
    if not parts:
        nothing = np.zeros(0, np.int64)
        return HeldOut(np.zeros((0, len(data.candidates))), nothing, nothing, nothing)
    names = ("scores", "answer", "n_cells", "size")
    return HeldOut(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))


def calibrate(held: HeldOut, data: InverseData, rng: np.random.Generator) -> Posterior:
    """Choose temperature, the place of the control and thresholds on held-out profiles of the training side."""
    posterior = Posterior.fit(held.scores, held.answer, held.n_cells, held.weight)
    sets = [(), *((one,) for one in range(len(data.candidates)))]
    scores = np.hstack([np.zeros((len(held.scores), 1)), held.scores])
    probability = posterior.of_sets(scores, sets, held.n_cells)[:, 1:]
    thresholds = best_thresholds(probability, held.answer, held.weight)
    return replace(posterior, reliability=reliability(data, rng), thresholds=thresholds)


def _can_be_fitted(data: InverseData) -> bool:
    """Tell whether every candidate, and the control, has a cell to learn from."""
    return set(range(-1, len(data.candidates))) <= set(data.answer[~data.is_val].tolist())
