"""Is the uncertainty as large as it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from scperturbmamba._checks import check_fraction, check_positive
from scperturbmamba.metrics._rows import Rows, beside, mean, pair

_LEVELS = (0.5, 0.8, 0.9)


def coverage(truth: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> Rows:
    """Return the share of each row's entries that lie in their intervals, ends included.

    Parameters
    ----------
    truth
        (rows × genes).
    lower, upper
        (rows × genes) or (genes,) ends of the intervals, which may be infinite; a NaN leaves the entry out.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.coverage([[1.0, 5.0]], [[0.0, 0.0]], [[2.0, 2.0]]).tolist()
    [0.5]
    """
    a, _ = pair(truth, truth)
    low, high = (beside(one, a, what=f"`{name}`") for name, one in (("lower", lower), ("upper", upper)))
    known = np.isfinite(a) & ~np.isnan(low) & ~np.isnan(high)
    return mean(np.where(known, (a >= low) & (a <= high), np.nan))


def interval_coverage(
    truth: ArrayLike, predicted: ArrayLike, sd: ArrayLike, *, levels: Sequence[float] = _LEVELS
) -> Rows:
    """Return how often truth lies in the central normal interval of each level, over all entries.

    The interval of a level is ŷ ± z·sd, with z the normal quantile at (1 + level) / 2. Calibrated predictions give
    the levels back.

    Parameters
    ----------
    truth, predicted
        (rows × genes).
    sd
        (rows × genes) or (genes,) standard deviation of the prediction.
    levels
        Between 0 and 1.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.interval_coverage([[0.5, 1.5]], [[0.0, 0.0]], [[1.0, 1.0]], levels=(0.5, 0.8, 0.9)).tolist()
    [0.5, 0.5, 1.0]
    """
    a, b = pair(truth, predicted)
    width = beside(sd, a, what="`sd`")
    if (width < 0).any():
        msg = f"`sd` must not be negative; found {np.nanmin(width)}. Give standard deviations, not their logarithms."
        raise ValueError(msg)
    for level in levels:
        check_fraction(level, "levels")
    known = np.isfinite(a) & np.isfinite(b) & np.isfinite(width)
    error, width = np.abs(a - b)[known], width[known]
    inside = [error <= ndtri((1 + level) / 2) * width for level in levels]
    return mean(np.asarray(inside, dtype=np.float64))


def calibration_error(
    truth: ArrayLike, predicted: ArrayLike, sd: ArrayLike, *, levels: Sequence[float] = _LEVELS
) -> float:
    """Return the mean over levels of ``|coverage − level|``, with :func:`interval_coverage`; 0 is best.

    Parameters
    ----------
    truth, predicted, sd, levels
        As for :func:`interval_coverage`.

    References
    ----------
    Kuleshov et al. (2018). Accurate uncertainties for deep learning using calibrated regression. ICML.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.calibration_error([[0.5, 1.5]], [[0.0, 0.0]], [[1.0, 1.0]], levels=(0.5, 0.75))
    0.125
    """
    found = interval_coverage(truth, predicted, sd, levels=levels)
    return float(np.abs(found - np.asarray(levels)).mean())


def expected_calibration_error(probability: ArrayLike, correct: ArrayLike, *, n_bins: int = 10) -> float:
    """Return how far stated probabilities are from shares of right answers: Σ n_b/n ``|accuracy_b − confidence_b|``.

    The sum runs over bins of equal width, [0, 1/n_bins) the first; 0 is best.

    Parameters
    ----------
    probability
        (answers,) from 0 to 1; answers whose probability or correctness is NaN are left out.
    correct
        (answers,) 1 where the answer is right, 0 where it is wrong.
    n_bins
        How many bins.

    References
    ----------
    Guo et al. (2017). On calibration of modern neural networks. ICML.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.expected_calibration_error([0.75, 0.75], [1, 0])
    0.25
    """
    check_positive(n_bins, "n_bins")
    p, right = (one.ravel() for one in pair(probability, correct))
    known = np.isfinite(p) & np.isfinite(right)
    p, right = p[known], right[known]
    if (p < 0).any() or (p > 1).any():
        msg = f"probabilities must lie between 0 and 1; found {p.min()} to {p.max()}. Give probabilities, not logits."
        raise ValueError(msg)
    bins = np.minimum((p * n_bins).astype(np.int64), n_bins - 1)
    gaps = np.bincount(bins, right - p, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(p)) if len(p) else float("nan")
