"""Is the right answer among the first: scores of candidates in, numbers out.

Every function takes scores (queries × candidates) and which candidates are right (the same shape, several where several
genes were perturbed), and returns a number per query; NaN where no candidate is right. Equal scores are averaged over
every order of theirs, so that scores that are all the same are exactly at chance, whatever the order of candidates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from scperturbmamba._checks import check_choice, check_whole
from scperturbmamba.metrics._rows import Rows, mean, pair, ratio

_Places = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


def hit_at_k(truth: ArrayLike, scores: ArrayLike, *, k: int = 1) -> Rows:
    """Return whether a right candidate is among the k best, 0 or 1, or the chance of it where scores are equal.

    Parameters
    ----------
    truth, scores
        (queries × candidates): 1 where a candidate is right; higher scores come first.
    k
        How many candidates are looked at.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.hit_at_k([[0, 1, 0]], [[0.9, 0.5, 0.1]], k=2).tolist()
    [1.0]
    """
    check_whole(k, "k")
    return _over_first(truth, scores, np.arange(1, _width(scores) + 1) <= k)


def reciprocal_rank(truth: ArrayLike, scores: ArrayLike) -> Rows:
    """Return 1 / rank of the first right candidate; its mean over queries is the MRR.

    Parameters
    ----------
    truth, scores
        As for :func:`hit_at_k`.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.reciprocal_rank([[0, 1, 0]], [[0.9, 0.5, 0.1]]).tolist()
    [0.5]
    """
    return _over_first(truth, scores, 1 / np.arange(1, _width(scores) + 1))


def recall_at_k(truth: ArrayLike, scores: ArrayLike, *, k: int = 10) -> Rows:
    """Return the share of the right candidates that are among the k best.

    Parameters
    ----------
    truth, scores, k
        As for :func:`hit_at_k`.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.recall_at_k([[0, 1, 1]], [[0.9, 0.5, 0.1]], k=2).tolist()
    [0.5]
    """
    check_whole(k, "k")
    right = _right(truth)
    found = _over_right(truth, scores, (np.arange(1, _width(scores) + 1) <= k).astype(np.float64))
    return ratio(found, right.sum(1))


def ndcg_at_k(truth: ArrayLike, scores: ArrayLike, *, k: int = 10) -> Rows:
    """Return the normalised discounted cumulative gain: right candidates count 1 / log2(1 + rank), best is 1.

    Parameters
    ----------
    truth, scores, k
        As for :func:`hit_at_k`.

    References
    ----------
    Järvelin and Kekäläinen (2002). Cumulated gain-based evaluation of IR techniques. ACM TOIS.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.ndcg_at_k([[0, 1]], [[0.1, 0.9]]).tolist()
    [1.0]
    """
    check_whole(k, "k")
    ranks = np.arange(1, _width(scores) + 1)
    gain = np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0)
    best = np.concatenate([[0.0], np.cumsum(gain)])[_right(truth).sum(1)]
    return ratio(_over_right(truth, scores, gain), best)


def at_least_one(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return whether a predicted set holds at least one right candidate.

    Parameters
    ----------
    truth, predicted
        (queries × candidates): 1 where a candidate is right, and where it is named.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.at_least_one([[0, 1, 1]], [[1, 1, 0]]).tolist()
    [1.0]
    """
    right = _right(truth)
    named = np.atleast_2d(np.asarray(predicted)) > 0
    return np.where(right.any(1), (right & named).any(1), np.nan)


def f1(truth: ArrayLike, predicted: ArrayLike, *, average: str = "micro") -> float:
    """Return the F1 of named candidates over all queries: 2 · right calls / (calls + right candidates).

    Parameters
    ----------
    truth, predicted
        (queries × candidates): 1 where a candidate is right, and where it is named.
    average
        ``"micro"`` counts all candidates together; ``"macro"`` takes the mean over the candidates that are right in
        some query or named in one.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.f1([[1, 0], [0, 1]], [[1, 0], [1, 0]])
    0.5
    """
    check_choice(average, ("micro", "macro"), "average")
    both, either = _calls(truth, predicted)
    if average == "micro":
        both, either = both.sum(keepdims=True), either.sum(keepdims=True)
    return float(mean(ratio(2 * both, either)[None])[0])


def f1_per_candidate(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the F1 of each candidate; NaN for one that is neither right nor named in any query.

    Parameters
    ----------
    truth, predicted
        As for :func:`f1`.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.f1_per_candidate([[1, 0], [0, 1]], [[1, 0], [0, 0]]).tolist()
    [1.0, 0.0]
    """
    both, either = _calls(truth, predicted)
    return ratio(2 * both, either)


def _calls(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return right calls, and calls plus right candidates, per candidate."""
    a, b = pair(truth, predicted)
    right, named = a > 0, b > 0
    return (right & named).sum(0), right.sum(0) + named.sum(0)


def _width(scores: ArrayLike) -> int:
    return int(np.atleast_2d(np.asarray(scores)).shape[1])


def _right(truth: ArrayLike) -> NDArray[np.bool_]:
    return np.atleast_2d(np.asarray(truth)) > 0


def _places(truth: ArrayLike, scores: ArrayLike) -> _Places:
    """Return, per entry, how many candidates are better and how many are equal (itself as well); what is right."""
    right, values = _right(truth), np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if right.shape != values.shape:
        msg = f"truth and scores must have one shape (queries × candidates); found {right.shape} and {values.shape}."
        raise ValueError(msg)
    if np.isnan(values).any():
        msg = "`scores` must be numbers; found NaN. Give the lowest score, or -inf, to what was not scored."
        raise ValueError(msg)
    ordered = np.sort(values, axis=1)
    better, equal = np.empty(values.shape, np.int64), np.empty(values.shape, np.int64)
    for row, (own, one) in enumerate(zip(values, ordered)):
        above = np.searchsorted(one, own, side="right")
        better[row], equal[row] = len(own) - above, above - np.searchsorted(one, own, side="left")
    return better, equal, right


def _over_right(truth: ArrayLike, scores: ArrayLike, worth: NDArray[np.float64]) -> Rows:
    """Return the sum over the right candidates of what their rank is worth, expected over the order of equals."""
    better, equal, right = _places(truth, scores)
    total = np.concatenate([[0.0], np.cumsum(worth, dtype=np.float64)])
    return np.where(right, (total[better + equal] - total[better]) / equal, 0).sum(1)


def _over_first(truth: ArrayLike, scores: ArrayLike, worth: NDArray) -> Rows:
    """Return what the rank of the first right candidate is worth, expected over the order of equals."""
    better, equal, right = _places(truth, scores)
    several = right.sum(1) > 1
    result = np.where(right.any(1), _over_right(truth, scores, worth), np.nan)  # with one right candidate they agree
    for row in np.flatnonzero(several):
        first = np.flatnonzero(right[row])[better[row][right[row]].argmin()]
        start, tied = better[row, first], equal[row, first]
        same = int((right[row] & (better[row] == start)).sum())
        ahead = np.arange(tied - same + 1)  # wrong candidates of the same score that come before it
        ways = _choices(tied - 1 - ahead, same - 1) - _choices(np.array(tied), same)
        result[row] = np.exp(ways) @ worth[start + ahead]
    return result


def _choices(n: NDArray, k: int) -> NDArray[np.float64]:
    """Return the logarithm of n over k."""
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
