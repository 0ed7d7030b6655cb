"""Errors in which the genes that change most count most."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from scperturbmamba.metrics._r2 import explained
from scperturbmamba.metrics._rows import Rows, as_rows, beside, pair, ratio


def effect_weights(strength: ArrayLike) -> Rows:
    """Return weights of genes from the size s of their change: ((s − min) / (max − min))² in each row.

    Parameters
    ----------
    strength
        (rows × genes), such as t statistics or effects; its sign does not matter. A constant row gives ones, what is
        not finite gives NaN, which the weighted metrics leave out.

    References
    ----------
    Mejia et al. (2025). Diversity by design. arXiv 2506.22641. Miller et al. (2025). bioRxiv 2025.10.20.683304.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.effect_weights([[0.0, -2.0, 1.0]]).tolist()
    [[0.0, 1.0, 0.25]]
    """
    size = np.abs(as_rows(strength))
    low = np.where(np.isfinite(size), size, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    high = np.where(np.isfinite(size), size, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    varied = high > low
    weights = np.square(np.divide(size - low, high - low, out=np.ones_like(size), where=varied))
    return np.where(np.isfinite(size), weights, np.nan)


def weighted_mse(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike) -> Rows:
    """Return the weighted mean squared error of each row: Σ w(ŷ − y)² / Σ w.

    Parameters
    ----------
    truth, predicted
        (rows × genes).
    weights
        (genes,) or (rows × genes), not negative, such as :func:`effect_weights` of the truth. NaN leaves a gene out;
        weights that sum to zero give NaN.

    References
    ----------
    Mejia et al. (2025). Diversity by design. arXiv 2506.22641.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.weighted_mse([[0.0, 0.0]], [[1.0, 2.0]], [3.0, 1.0]).tolist()
    [1.75]
    """
    a, b = pair(truth, predicted)
    w = np.where(np.isfinite(a) & np.isfinite(b), _weights(weights, a), 0)
    error = np.where(w > 0, np.square(b - a), 0)
    return ratio((w * error).sum(axis=1), w.sum(axis=1))


def weighted_r2(truth: ArrayLike, predicted: ArrayLike, weights: ArrayLike) -> Rows:
    """Return the weighted R² of each row: 1 − Σ w(y − ŷ)² / Σ w(y − ȳ)², ȳ the weighted mean of the row.

    Parameters
    ----------
    truth, predicted
        (rows × genes).
    weights
        (genes,) or (rows × genes), not negative. NaN with fewer than two genes that have a weight; where the truth
        is constant, as :func:`r2_score`.

    References
    ----------
    Miller et al. (2025). bioRxiv 2025.10.20.683304.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.weighted_r2([[0.0, 2.0, 9.0]], [[0.0, 1.0, 0.0]], [1.0, 1.0, 0.0]).tolist()
    [0.5]
    """
    a, b = pair(truth, predicted)
    return explained(a, b, _weights(weights, a))


def _weights(weights: ArrayLike, rows: Rows) -> Rows:
    given = beside(weights, rows, what="the weights")
    if (given < 0).any():
        msg = f"weights must not be negative; found {np.nanmin(given)}. Take their size or leave those genes out."
        raise ValueError(msg)
    return np.where(np.isfinite(given), given, 0)
