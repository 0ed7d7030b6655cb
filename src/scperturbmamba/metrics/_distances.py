"""Distances between every two rows, over the same genes for all that are compared."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from scperturbmamba.metrics._rows import Rows

Distance = Literal["l1", "l2", "cosine"]


def distances(queries: Rows, candidates: Rows, distance: Distance, left_out: NDArray[np.bool_] | None = None) -> Rows:
    """Return (queries × candidates) distances; NaN for a row that is empty.

    Parameters
    ----------
    queries, candidates
        (rows × genes), NaN where missing. A gene that a candidate lacks is left out for all, for distances over
        different genes cannot be compared; a gene that a query lacks is left out for that query.
    distance
        Sum of absolute differences, squared Euclid, or 1 − cosine similarity (1 where a row is zero).
    left_out
        (queries × genes) genes to leave out besides.
    """
    present = np.isfinite(candidates).any(axis=1, keepdims=True)
    shared = (np.isfinite(candidates) | ~present).all(axis=0, keepdims=True)
    hidden = ~(np.isfinite(queries) & shared)
    if left_out is not None:
        hidden |= left_out
    a = np.where(hidden, 0, queries)
    b = np.where(shared & present, candidates, 0)
    result = _angles(a, b, hidden) if distance == "cosine" else _lengths(a, b, hidden, distance)
    return np.where(hidden.all(axis=1, keepdims=True) | ~present.T, np.nan, result)


def _lengths(a: Rows, b: Rows, hidden: NDArray[np.bool_], distance: Distance) -> Rows:
    """Measure with hidden genes at zero in the query, then take away what they add."""
    power = 1 if distance == "l1" else 2
    result = cdist(a, b, "cityblock" if power == 1 else "sqeuclidean")
    some = np.flatnonzero(hidden.any(axis=1))
    result[some] = np.maximum(result[some] - hidden[some] @ (np.abs(b) ** power).T, 0)
    return result


def _angles(a: Rows, b: Rows, hidden: NDArray[np.bool_]) -> Rows:
    squares = np.square(a).sum(axis=1)[:, None] * (~hidden @ np.square(b).T)
    return 1 - np.divide(a @ b.T, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
