"""Do predictions differ from one another, or have they collapsed to one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from scperturbmamba.metrics._rows import ROUNDING, as_rows, pair


def similarity(profiles: ArrayLike) -> float:
    """Return the mean Pearson correlation between two rows; near 1 the predictions have collapsed.

    With u the centred rows of unit length it is (‖Σu‖² − Σ‖u‖²) / n(n − 1), so that no pair is ever formed. A
    constant row correlates 0 with all.

    Parameters
    ----------
    profiles
        (rows × genes). Rows without a finite entry are left out, then genes that are not finite in every row.
        NaN with fewer than two rows.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> round(metrics.similarity([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]]), 4)
    -0.3333
    """
    rows = as_rows(profiles)
    rows = rows[np.isfinite(rows).any(axis=1)]
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    n = len(rows)
    if n < 2 or not rows.shape[1]:
        return float("nan")
    rest = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(rest, axis=1, keepdims=True)
    varied = norm > ROUNDING * np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rest, norm, out=np.zeros_like(rest), where=varied)
    return float((np.square(unit.sum(axis=0)).sum() - np.square(unit).sum()) / (n * (n - 1)))


def spread(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return how much predictions vary between rows, relative to the truth: Σ_g var(ŷ_g) / Σ_g var(y_g).

    0 is one prediction for all, 1 is as varied as the truth, above 1 is more. NaN where the truth does not vary.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.spread([[0.0, 0.0], [2.0, 4.0]], [[0.0, 0.0], [1.0, 2.0]])
    0.25
    """
    a, b = pair(truth, predicted)
    known = np.isfinite(a) & np.isfinite(b)
    n = np.maximum(known.sum(axis=0), 1)
    real, made = (_variance(np.where(known, one, 0), known, n) for one in (a, b))
    return made / real if real > 0 else float("nan")


def _variance(values: np.ndarray, known: np.ndarray, n: np.ndarray) -> float:
    rest = np.where(known, values - values.sum(axis=0) / n, 0)
    return float((np.square(rest).sum(axis=0) / n).sum())
