"""Are the right genes called, in the right direction: 1 is best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scperturbmamba._checks import check_positive
from scperturbmamba.metrics._rows import Rows, mean, pair
from scperturbmamba.metrics._top_genes import on_top_genes


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
    a, b = on_top_genes(truth, predicted, n=n_top_genes)
    return mean((np.sign(a) * np.sign(b) + 1) / 2)


def de_overlap(
    truth: ArrayLike,
    predicted: ArrayLike,
    significant: ArrayLike,
    *,
    n: int | None = None,
    predicted_significant: ArrayLike | None = None,
) -> Rows:
    """Return the share of the truly changed genes that are also called: ``|top-k true ∩ top-k predicted| / k``.

    Both sides are their significant genes, the largest change first, and k is the number of truly significant genes,
    or ``n`` where that is smaller. This is cell-eval's ``overlap_at_N`` (``n=None``), ``overlap_at_50`` (``n=50``) and
    so on, the "DES" of the Virtual Cell Challenge; 0 without a truly significant gene.

    Parameters
    ----------
    truth, predicted
        (rows × genes) changes, such as log fold changes. NaN on one side leaves a gene out; an infinite change is
        the largest.
    significant
        (rows × genes) bool: significant in truth.
    n
        At most so many genes.
    predicted_significant
        (rows × genes) bool: significant in the prediction. Without it every gene may be called.

    References
    ----------
    Roohani et al. (2025). Virtual Cell Challenge. Cell 188. Code: ArcInstitute/cell-eval.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.de_overlap([[3.0, 2.0, 1.0]], [[3.0, 0.0, 1.0]], [[True, True, False]]).tolist()
    [0.5]
    """
    true, called, known = _orders(truth, predicted, significant, predicted_significant)
    return _share_of_tops(true, called, known, of=true, n=n)


def de_precision(
    truth: ArrayLike,
    predicted: ArrayLike,
    significant: ArrayLike,
    *,
    n: int | None = None,
    predicted_significant: ArrayLike | None = None,
) -> Rows:
    """Return the share of the called genes that truly change: ``|top-k true ∩ top-k predicted| / k``.

    As :func:`de_overlap`, but k is the number of genes significant in the prediction, or ``n`` where that is smaller:
    cell-eval's ``precision_at_N`` and ``precision_at_50``. The true side is cut at k as well. 0 where nothing is
    called.

    Parameters
    ----------
    truth, predicted, significant
        As for :func:`de_overlap`.
    n
        At most so many genes; needed where ``predicted_significant`` is not given.
    predicted_significant
        (rows × genes) bool: significant in the prediction. Without it every gene may be called.

    References
    ----------
    Code: ArcInstitute/cell-eval.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.de_precision([[3.0, 2.0, 1.0]], [[3.0, 0.0, 1.0]], [[True, False, False]], n=2).tolist()
    [0.5]
    """
    if n is None and predicted_significant is None:
        msg = "expected `n` or `predicted_significant`, to know how many genes are called; found neither. Give one."
        raise ValueError(msg)
    true, called, known = _orders(truth, predicted, significant, predicted_significant)
    return _share_of_tops(true, called, known, of=called, n=n)


def _orders(
    truth: ArrayLike, predicted: ArrayLike, significant: ArrayLike, predicted_significant: ArrayLike | None
) -> tuple[Rows, Rows, NDArray[np.bool_]]:
    """Return the place of each significant gene on both sides (0 is the largest, inf is none), and rows with pairs."""
    a, b = (np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in (truth, predicted))
    pair(a, b)
    known = ~(np.isnan(a) | np.isnan(b))
    called = np.ones(b.shape, dtype=bool) if predicted_significant is None else predicted_significant
    sides = ((a, _flags(significant, a, "significant")), (b, _flags(called, b, "predicted_significant")))
    true, found = (_places(one, flags & known) for one, flags in sides)
    return true, found, np.any(known, axis=1)


def _flags(values: ArrayLike, rows: Rows, argument: str) -> NDArray[np.bool_]:
    flags = np.atleast_2d(np.asarray(values))
    if flags.shape != rows.shape or flags.dtype != np.bool_:
        msg = (
            f"`{argument}` must be bool of shape {rows.shape} (rows × genes); found {flags.dtype} of {flags.shape}. "
            "Compare the adjusted p-values with a threshold, such as `fdr < 0.05`."
        )
        raise ValueError(msg)
    return flags


def _places(change: Rows, counted: NDArray[np.bool_]) -> Rows:
    order = np.argsort(-np.where(counted, np.abs(change), -1), axis=1, kind="stable")
    places = np.empty(order.shape)
    np.put_along_axis(places, order, np.arange(order.shape[1], dtype=float)[None], axis=1)
    return np.where(counted, places, np.inf)


def _share_of_tops(true: Rows, called: Rows, known: NDArray[np.bool_], *, of: Rows, n: int | None) -> Rows:
    if n is not None:
        check_positive(n, "n")
    k = np.minimum(np.isfinite(of).sum(axis=1), np.inf if n is None else n)[:, None]
    both = ((true < k) & (called < k)).sum(axis=1)
    return np.where(known, both / np.maximum(k[:, 0], 1), np.nan)
