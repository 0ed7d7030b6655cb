"""How much better than a baseline, and how sure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from scperturbmamba._checks import check_fraction, check_positive
from scperturbmamba.metrics._rows import Rows

_AT_ONCE = 1_000_000  # numbers drawn together


def scaled(value: ArrayLike, baseline: ArrayLike, replicate: ArrayLike) -> Rows:
    """Return where a score lies between a baseline, 0, and a replicate, 1.

    (value − baseline) / (replicate − baseline), for errors and similarities alike; above 1 is better than the
    experiment repeated.

    Parameters
    ----------
    value, baseline, replicate
        Scores of one metric, one or many: of the prediction, of a baseline such as the training mean, and of the best
        that can be hoped for, such as the other half of the cells. NaN where the two ends are equal.

    References
    ----------
    Miller et al. (2025). bioRxiv 2025.10.20.683304. Code: ArcInstitute/cell-eval, ``score_agg_metrics``.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.scaled([2.0, 1.0], 4.0, 0.0).tolist()
    [0.5, 0.75]
    """
    score, low, high = np.broadcast_arrays(*(np.asarray(one, np.float64) for one in (value, baseline, replicate)))
    return np.divide(score - low, high - low, out=np.full(score.shape, np.nan), where=high != low)


def paired_bootstrap(
    difference: ArrayLike, *, n_draws: int = 2000, level: float = 0.95, random_state: int = 0
) -> tuple[float, float, float]:
    """Return the mean of paired differences and its bootstrap interval.

    The finite differences are drawn with replacement; the ends are percentiles of the means. Two models differ where
    the interval leaves out 0.

    Parameters
    ----------
    difference
        (conditions,) score of one model minus that of another on the same condition.
    n_draws
        How many samples.
    level
        Share of the means inside the interval.
    random_state
        Seed of the draws.

    Returns
    -------
    Mean, lower and upper end; NaN where no difference is finite.

    References
    ----------
    Efron and Tibshirani (1993). An Introduction to the Bootstrap.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.paired_bootstrap([2.0, 2.0, 2.0])
    (2.0, 2.0, 2.0)
    """
    check_positive(n_draws, "n_draws")
    check_fraction(level, "level")
    values = np.asarray(difference, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    random = np.random.default_rng(random_state)
    n, means = len(values), np.empty(n_draws)
    for some in np.array_split(np.arange(n_draws), 1 + n_draws * n // _AT_ONCE):
        means[some] = values[random.integers(n, size=(len(some), n))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)
