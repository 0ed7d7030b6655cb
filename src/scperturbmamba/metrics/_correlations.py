"""How alike in direction: correlations of each row, 1 is best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from scperturbmamba.metrics._rows import ROUNDING, Rows, mean, pair

_TINY = np.finfo(np.float64).tiny


def pearson(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return Pearson's correlation of each row; of effects, the field's "Pearson delta".

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.pearson([[1.0, 2.0, 3.0]], [[2.0, 4.0, 6.0]]).round(6).tolist()
    [1.0]
    """
    a, b = pair(truth, predicted)
    return _correlation(a, b, np.zeros(a.shape[1]))


def pearson_centred(truth: ArrayLike, predicted: ArrayLike, centre: ArrayLike) -> Rows:
    """Return Pearson's correlation after the mean effect of training perturbations is taken from both.

    What all perturbations share is easy; this scores what is particular to each.

    Parameters
    ----------
    truth, predicted
        (rows × genes) effects.
    centre
        (genes,) mean effect of the training perturbations.

    References
    ----------
    Viñas Torné et al. (2025). Systema. Nature Biotechnology.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.pearson_centred([[1.0, 2.0, 4.0]], [[1.0, 2.0, 3.0]], [1.0, 2.0, 3.0]).tolist()
    [0.0]
    """
    a, b = pair(truth, predicted)
    return _correlation(a, b, np.asarray(centre, dtype=np.float64))


def spearman(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return Spearman's correlation of each row: Pearson's of the ranks, where ties share their mean rank.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.spearman([[1.0, 2.0, 3.0]], [[1.0, 4.0, 90.0]]).tolist()
    [1.0]
    """
    a, b = pair(truth, predicted)
    known = np.isfinite(a) & np.isfinite(b)
    a, b = (np.where(known, rankdata(np.where(known, one, np.inf), axis=1), np.nan) for one in (a, b))
    return _correlation(a, b, np.zeros(a.shape[1]))


def cosine(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the cosine similarity of each row: Σ yŷ over the root of Σ y² Σ ŷ²; 0 where a row is zero.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.cosine([[3.0, 4.0], [1.0, 0.0]], [[4.0, 3.0], [0.0, 0.0]]).tolist()
    [0.96, 0.0]
    """
    a, b = pair(truth, predicted)
    known = np.isfinite(a) & np.isfinite(b)
    a, b = (np.where(known, one, 0) for one in (a, b))
    return _angle(a, b, known, zero=np.logical_not(a.any(axis=1) & b.any(axis=1)))


def _correlation(a: Rows, b: Rows, centre: Rows) -> Rows:
    """Correlate rows after a centre is taken from both; what is left of rounding alone counts as constant."""
    known = np.isfinite(a) & np.isfinite(b) & np.isfinite(centre)
    residues, constant = [], np.zeros(len(a), dtype=bool)
    for one in (a, b):
        rest = np.where(known, one - centre, np.nan)
        rest = np.where(known, rest - mean(rest)[:, None], 0)
        size = np.sqrt(np.square(np.where(known, np.abs(one) + np.abs(centre), 0)).sum(axis=1))
        constant |= np.sqrt(np.square(rest).sum(axis=1)) <= ROUNDING * size
        residues.append(rest)
    return _angle(residues[0], residues[1], known, zero=constant)


def _angle(a: Rows, b: Rows, known: NDArray[np.bool_], *, zero: NDArray[np.bool_]) -> Rows:
    a, b = (one / np.maximum(np.abs(one).max(axis=1, initial=0), _TINY)[:, None] for one in (a, b))
    norms = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    value = np.divide((a * b).sum(axis=1), norms, out=np.zeros(len(a)), where=~zero)
    return np.where(known.any(axis=1), np.clip(value, -1, 1), np.nan)
