"""Weights of level one that are not negative, by logistic loss for calls and squared error otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

_SHRINKAGE = 3.0


def weigh(
    x: NDArray[np.floating],
    offset: NDArray[np.floating],
    target: NDArray[np.floating],
    weight: NDArray[np.floating],
    *,
    are_calls: bool,
) -> NDArray[np.float64]:
    """Return a weight per column of ``x`` (entries × columns), not negative, and an intercept at the end.

    What is fitted is ``offset + x @ weights + intercept``; a small ridge draws the weights to 0.
    """
    design = np.column_stack([x, np.ones(len(x))]).astype(np.float32)
    shrinkage = np.r_[np.full(x.shape[1], _SHRINKAGE), 0.0]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = offset + design @ weights.astype(np.float32)
        if are_calls:
            value, slope = np.logaddexp(0, score) - target * score, 1 / (1 + np.exp(-score)) - target
        else:
            value, slope = np.square(score - target) / 2, score - target
        gradient = design.T @ (weight * slope).astype(np.float32)
        total = float(weight @ value + shrinkage @ np.square(weights) / 2)
        return total, gradient.astype(np.float64) + shrinkage * weights

    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    start = np.zeros(design.shape[1])
    return np.asarray(minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x, np.float64)
