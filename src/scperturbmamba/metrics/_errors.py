"""How far off: errors of each row, 0 is best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from scperturbmamba.metrics._rows import Rows, mean, pair, total


def mse(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the mean squared error of each row: mean over genes of (ŷ − y)².

    Of profiles it is cell-eval's ``mse``, of effects its ``mse_delta``.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.mse([[1.0, 2.0]], [[1.0, 4.0]]).tolist()
    [2.0]
    """
    a, b = pair(truth, predicted)
    return mean(np.square(b - a))


def mae(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the mean absolute error of each row: mean over genes of ``|ŷ − y|``.

    Of profiles it is cell-eval's ``mae``, of effects its ``mae_delta``.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.mae([[1.0, 2.0]], [[1.0, 4.0]]).tolist()
    [1.0]
    """
    a, b = pair(truth, predicted)
    return mean(np.abs(b - a))


def l2(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the Euclidean distance of each row: the root of the sum over genes of (ŷ − y)².

    Ahlmann-Eltze et al. take it over the :func:`highest_genes` of the control.

    References
    ----------
    Ahlmann-Eltze et al. (2025). Nature Methods 22.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.l2([[0.0, 0.0]], [[3.0, 4.0]]).tolist()
    [5.0]
    """
    a, b = pair(truth, predicted)
    return np.sqrt(total(np.square(b - a)))
