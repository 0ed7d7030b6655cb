"""Dictionary and centroid together: two weights, and how they go with the number of cells, by cross-validation.

The logit of a candidate is ``exp(a + b log n)`` times the score of the dictionary plus ``exp(c + d log n)`` times the
cosine of the centroid. The four numbers are the likeliest on held-out folds of the training side; the held-out
replicate has no part in it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from scperturbmamba.data.inverse_data import read_inverse
from scperturbmamba.models.inverse.centroid import NearestCentroid
from scperturbmamba.models.inverse.dictionary import Dictionary
from scperturbmamba.models.inverse.held_out import HeldOut, cross_fitted
from scperturbmamba.tl._inverse_evaluate import held_out_units
from scperturbmamba.tl._inverse_fit import fit_inverse, view_of
from scperturbmamba.tl._inverse_protocols import make_folds

_BOUNDS = ((-12, 6), (-2, 2), (-12, 8), (-2, 2))
_STARTS = ((-2.0, 0.0, 1.0, 0.0), (-4.0, 0.0, 2.0, 0.5))
_RIDGE = 0.01  # of the slopes
Numbers = NDArray[np.float64]


def stacked_top1(adata: AnnData, *, hold_out: str, batch: str | None) -> pd.Series:
    """Return top-1 (conditions,) of the stack: profiles of all cells, targets masked, mean over folds."""
    view, nobody = view_of(adata, "targets", batch), np.zeros(adata.n_obs, dtype=bool)
    found = []
    for fold in make_folds(adata, hold_out, 3):
        data = read_inverse(adata, view, train=fold.train, val=nobody)
        held = [cross_fitted(model, data, np.random.default_rng(0)) for model in (Dictionary, NearestCentroid)]
        numbers = weights_of(*held)
        fitted = fit_inverse(adata, "dictionary", {}, view, (fold.train, nobody), 0)
        units, conditions = held_out_units(adata, view, fold, fitted, ["all"], np.random.default_rng(0))
        n_cells = np.minimum(units.n_cells, held[0].n_cells.max())
        scores = [model().fit(data).scores(units.x, units.n_cells) for model in (Dictionary, NearestCentroid)]
        best = together(*scores, n_cells, numbers).argmax(1)
        own = [conditions[group].label for group in units.group]
        named = [data.candidates[place].label for place in best]
        found += [(one, one == other) for one, other in zip(own, named) if one != "control"]
    return pd.DataFrame(found, columns=["condition", "right"]).groupby("condition")["right"].mean()


def weights_of(dictionary: HeldOut, centroid: HeldOut) -> Numbers:
    """Return the four numbers under which the held-out profiles of the training side are likeliest."""
    some = dictionary.answer >= 0
    scores = [one.scores[some] for one in (dictionary, centroid)]
    answer, n_cells, weight = dictionary.answer[some], dictionary.n_cells[some], dictionary.weight[some]

    def loss(numbers: Numbers) -> float:
        logs = log_softmax(together(*scores, n_cells, numbers), axis=1)
        ridge = _RIDGE * float(np.square(numbers[[1, 3]]).sum())
        return -float(np.average(logs[np.arange(len(logs)), answer], weights=weight)) + ridge

    tried = [minimize(loss, np.array(start), method="L-BFGS-B", bounds=_BOUNDS) for start in _STARTS]
    return np.asarray(min(tried, key=lambda one: float(one.fun)).x)


def together(dictionary: Numbers, centroid: Numbers, n_cells: NDArray[np.int64], numbers: Numbers) -> Numbers:
    """Return logits (profiles × candidates)."""
    logs = np.log(n_cells)[:, None]
    return dictionary * np.exp(numbers[0] + numbers[1] * logs) + centroid * np.exp(numbers[2] + numbers[3] * logs)
