"""Rows of pairs, and sums over what is finite in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.float64]
ROUNDING = 1e-6  # relative to the entries: what float32 sums leave of a constant row


def as_rows(values: ArrayLike) -> Rows:
    """Return (rows × genes) in float64, with NaN for what is not finite; one row may be given flat."""
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if rows.ndim != 2:
        msg = f"expected (rows × genes); found an array of shape {rows.shape}. Give one row per condition."
        raise ValueError(msg)
    return np.where(np.isfinite(rows), rows, np.nan)


def pair(truth: ArrayLike, predicted: ArrayLike) -> tuple[Rows, Rows]:
    """Return truth and prediction as rows; refuse two shapes."""
    a, b = as_rows(truth), as_rows(predicted)
    if a.shape != b.shape:
        msg = f"truth and prediction must have one shape (rows × genes); found {a.shape} and {b.shape}."
        raise ValueError(msg)
    return a, b


def beside(values: ArrayLike, rows: Rows, *, what: str) -> Rows:
    """Return a number for every entry of ``rows``, given so or as one per gene."""
    given = np.asarray(values, dtype=np.float64)
    if given.shape not in (rows.shape, rows.shape[1:]):
        msg = f"{what} must be {rows.shape} (rows × genes) or {rows.shape[1:]} (genes); found {given.shape}."
        raise ValueError(msg)
    return np.broadcast_to(given, rows.shape)


def total(values: Rows) -> Rows:
    """Return the sum of the finite entries of each row."""
    known = np.isfinite(values)
    return np.where(known.any(axis=1), np.where(known, values, 0).sum(axis=1), np.nan)


def mean(values: Rows) -> Rows:
    """Return the mean of the finite entries of each row."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1))


def ratio(part: NDArray, whole: NDArray) -> Rows:
    """Divide; NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
