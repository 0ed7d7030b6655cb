"""How near a prediction is: arrays in, numbers out, one number per row.

Every function takes ``(rows × genes)`` arrays; a row is a condition. A correlation with a constant row is 0: such a
prediction says nothing of the differences between genes. Rows that hold no finite pair give NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["direction_accuracy", "l2", "mae", "mse", "pearson", "pearson_centred", "r2"]

Rows = NDArray[np.float64]
_ROUNDING = 1e-6  # relative to the entries: what float32 sums leave of a constant row
_TINY = np.finfo(np.float64).tiny


def mse(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the mean squared error of each row.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.mse([[1.0, 2.0]], [[1.0, 4.0]]).tolist()
    [2.0]
    """
    a, b = _pair(truth, predicted)
    return _mean(np.square(b - a))


def mae(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the mean absolute error of each row.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.mae([[1.0, 2.0]], [[1.0, 4.0]]).tolist()
    [1.0]
    """
    a, b = _pair(truth, predicted)
    return _mean(np.abs(b - a))


def l2(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the Euclidean distance of each row, the error of Ahlmann-Eltze et al. (2025).

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.l2([[0.0, 0.0]], [[3.0, 4.0]]).tolist()
    [5.0]
    """
    a, b = _pair(truth, predicted)
    return np.sqrt(_sum(np.square(b - a)))


def pearson(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return Pearson's correlation of each row; of deltas, the field's "Pearson delta".

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.pearson([[1.0, 2.0, 3.0]], [[2.0, 4.0, 6.0]]).round(6).tolist()
    [1.0]
    """
    a, b = _pair(truth, predicted)
    return _correlation(a, b, np.zeros(a.shape[1]))


def pearson_centred(truth: ArrayLike, predicted: ArrayLike, centre: ArrayLike) -> Rows:
    """Return Pearson's correlation after the mean effect of training perturbations is taken from both.

    What all perturbations share is easy; this scores what is particular to each (Systema, 2025).

    Parameters
    ----------
    truth, predicted
        (rows × genes) effects.
    centre
        (genes,) mean effect of the training perturbations.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.pearson_centred([[1.0, 2.0, 4.0]], [[1.0, 2.0, 3.0]], [1.0, 2.0, 3.0]).tolist()
    [0.0]
    """
    a, b = _pair(truth, predicted)
    return _correlation(a, b, np.asarray(centre, dtype=np.float64))


def direction_accuracy(truth: ArrayLike, predicted: ArrayLike, *, n_top_genes: int = 20) -> Rows:
    """Return the share of the genes that change most in truth whose sign is right; 0.5 is a coin.

    Parameters
    ----------
    truth, predicted
        (rows × genes) effects. The top genes are chosen from the truth; a predicted zero counts as half.
    n_top_genes
        How many genes.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.direction_accuracy([[2.0, -1.0, 0.1]], [[1.0, 1.0, 0.0]], n_top_genes=2).tolist()
    [0.5]
    """
    a, b = _pair(truth, predicted)
    strength = np.where(np.isfinite(a) & np.isfinite(b), np.abs(a), -1.0)
    top = np.argsort(-strength, axis=1, kind="stable")[:, :n_top_genes]
    agree = np.take_along_axis(np.sign(a) * np.sign(b), top, axis=1)
    return _mean((agree + 1) / 2)


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
    a, b = _pair(truth, predicted)
    middle = np.broadcast_to(np.asarray(reference, dtype=np.float64), a.shape)
    known = np.isfinite(a) & np.isfinite(b) & np.isfinite(middle)
    residual, total = (float(np.square(a - one)[known].sum()) for one in (b, middle))
    return 1 - residual / total if total > 0 else float("nan")


def _pair(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = (np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in (truth, predicted))
    if a.shape != b.shape:
        msg = f"truth and prediction must have one shape (rows × genes); found {a.shape} and {b.shape}."
        raise ValueError(msg)
    return np.where(np.isfinite(a), a, np.nan), np.where(np.isfinite(b), b, np.nan)


def _correlation(a: Rows, b: Rows, centre: Rows) -> Rows:
    """Correlate rows after a centre is taken from both; what is left of rounding alone counts as constant."""
    known = np.isfinite(a) & np.isfinite(b) & np.isfinite(centre)
    residues, constant = [], np.zeros(len(a), dtype=bool)
    for one in (a, b):
        rest = np.where(known, one - centre, np.nan)
        rest = np.where(known, rest - _mean(rest)[:, None], 0)
        size = np.sqrt(np.square(np.where(known, np.abs(one) + np.abs(centre), 0)).sum(axis=1))
        constant |= np.sqrt(np.square(rest).sum(axis=1)) <= _ROUNDING * size
        residues.append(rest / np.maximum(np.abs(rest).max(axis=1, initial=0), _TINY)[:, None])
    a, b = residues
    norms = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    value = np.divide((a * b).sum(axis=1), norms, out=np.zeros(len(a)), where=~constant)
    return np.where(known.any(axis=1), np.clip(value, -1, 1), np.nan)


def _sum(values: Rows) -> Rows:
    known = np.isfinite(values)
    return np.where(known.any(axis=1), np.where(known, values, 0).sum(axis=1), np.nan)


def _mean(values: NDArray[np.float64]) -> Rows:
    known = np.isfinite(values)
    n = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1)
    return np.divide(total, n, out=np.full(len(values), np.nan), where=n > 0)
