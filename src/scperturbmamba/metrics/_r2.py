"""How much of the variance is explained: 1 is best, 0 is as good as the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from scperturbmamba.metrics._rows import ROUNDING, Rows, pair, ratio


def r2(truth: ArrayLike, predicted: ArrayLike, reference: ArrayLike) -> float:
    """Return 1 minus the squared error over that of a reference, over all rows: above 0 is better than it.

    Parameters
    ----------
    truth, predicted
        (rows × genes).
    reference
        (genes,) or (rows × genes), such as the training mean per gene.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.r2([[1.0, 3.0]], [[1.0, 3.0]], [2.0, 2.0])
    1.0
    """
    a, b = pair(truth, predicted)
    middle = np.broadcast_to(np.asarray(reference, dtype=np.float64), a.shape)
    known = np.isfinite(a) & np.isfinite(b) & np.isfinite(middle)
    residual, total = (float(np.square(a - one)[known].sum()) for one in (b, middle))
    return 1 - residual / total if total > 0 else float("nan")


def r2_score(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the R² of each row around its own mean: 1 − Σ(y − ŷ)² / Σ(y − ȳ)².

    As ``sklearn.metrics.r2_score``: where the truth is constant, 1 for a perfect prediction and 0 for another;
    NaN with fewer than two genes.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.r2_score([[1.0, 2.0, 3.0]], [[1.0, 2.0, 2.0]]).tolist()
    [0.5]
    """
    a, b = pair(truth, predicted)
    return explained(a, b, np.ones_like(a))


def explained(a: Rows, b: Rows, weights: Rows) -> Rows:
    """Return the weighted R² of each row around its weighted mean; only entries with a weight count."""
    known = np.isfinite(a) & np.isfinite(b) & (weights > 0)
    a, b, w = (np.where(known, one, 0) for one in (a, b, weights))
    centre = ratio((w * a).sum(axis=1), w.sum(axis=1))[:, None]
    residual = (w * np.square(a - b)).sum(axis=1)
    variance = (w * np.square(a - centre)).sum(axis=1)
    tiny = ROUNDING**2 * (w * np.square(a)).sum(axis=1)
    value = np.where(variance > tiny, 1 - ratio(residual, variance), residual == 0)
    return np.where(known.sum(axis=1) > 1, value, np.nan)
