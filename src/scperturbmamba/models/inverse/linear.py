"""Linear classifiers of cells: logistic regression, and discriminant analysis with a shrunken covariance."""

from __future__ import annotations

import json
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.models.checkpoint import Checkpoint
from scperturbmamba.models.inverse.base import Profiles, Scores


class Linear:
    """Weights per gene and candidate; a score is a log odds against the control.

    Attributes
    ----------
    weights, constant
        (candidates × genes) and (candidates,).
    """

    weights: NDArray[np.float64]
    constant: NDArray[np.float64]

    def fit(self, data: InverseData) -> Self:
        """Learn from the training cells that carry one candidate or none, every class counting the same."""
        answer = np.where(data.is_val, -2, data.answer)
        used = answer > -2
        x = data.x[used].astype(np.float64)
        centre, scale = x.mean(0), x.std(0)
        scale[scale == 0] = 1
        classes = len(data.candidates) + 1
        coefficient, constant = np.zeros((classes, x.shape[1])), np.full(classes, -np.inf)
        found = self._classifier(len(np.unique(answer[used])))
        found.fit((x - centre) / scale, answer[used] + 1)
        if found.coef_.shape[0] == 1:  # two classes share one row
            first, second = found.classes_
            constant[first], constant[second] = 0.0, found.intercept_[0]
            coefficient[second] = found.coef_[0]
        else:
            coefficient[found.classes_], constant[found.classes_] = found.coef_, found.intercept_
        self.weights = (coefficient[1:] - coefficient[0]) / scale
        self.constant = constant[1:] - constant[0] - self.weights @ centre
        return self

    def scores(self, x: Profiles, n_cells: NDArray[np.int64]) -> Scores:
        """Return log odds (profiles × candidates) against the control, summed over the cells of a profile."""
        return (x.astype(np.float64) @ self.weights.T + self.constant) * n_cells[:, None]

    def state(self) -> Checkpoint:
        """Return the weights."""
        return Checkpoint(json.dumps({}), {"weights": self.weights, "constant": self.constant})

    @classmethod
    def from_state(cls, state: Checkpoint) -> Self:
        """Return the model of these weights."""
        model = cls()
        model.weights, model.constant = (np.asarray(state.arrays[name]) for name in ("weights", "constant"))
        return model

    def _classifier(self, n_classes: int) -> Any:
        raise NotImplementedError


class Logistic(Linear):
    """Multinomial logistic regression with an L2 penalty.

    Parameters
    ----------
    strength
        Inverse of the penalty (``C`` of scikit-learn).
    """

    def __init__(self, *, strength: float = 0.003) -> None:
        self.strength = strength

    def _classifier(self, n_classes: int) -> Any:
        return LogisticRegression(C=self.strength, class_weight="balanced", max_iter=500)


class Discriminant(Linear):
    """Linear discriminant analysis; the covariance is drawn to a multiple of the identity (Ledoit and Wolf)."""

    def _classifier(self, n_classes: int) -> Any:
        priors = np.full(n_classes, 1 / n_classes)
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)
