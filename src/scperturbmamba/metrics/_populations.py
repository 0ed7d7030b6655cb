"""How far two populations of cells lie apart: 0 is best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from scperturbmamba._checks import check_positive
from scperturbmamba.metrics._rows import Rows, as_rows


def energy_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Return the E-distance between two populations of cells: 2δ − σₓ − σᵧ.

    δ is the mean squared Euclidean distance between a cell of ``x`` and one of ``y``, σ that between two different
    cells of one population: a sum over n(n − 1) pairs, as scPerturb's ``edist_to_control``, so that two samples of
    one population give 0 on average, sometimes less. Over n² pairs σ would be too small, and the result twice the
    squared distance between the two means.

    Parameters
    ----------
    x, y
        (cells × genes) or (cells × components); scPerturb takes principal components. A gene that is not finite in
        every cell is left out. NaN with fewer than two cells on a side.

    References
    ----------
    Peidli et al. (2024). scPerturb. Nature Methods 21.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.energy_distance([[0.0], [2.0]], [[5.0], [7.0]])
    46.0
    """
    a, b = _cells(x, y)
    if min(len(a), len(b)) < 2 or not a.shape[1]:
        return float("nan")
    between = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    by_chance = sum(one.var(axis=0, ddof=1).sum() / len(one) for one in (a, b))
    return float(2 * (between - by_chance))


def mmd(x: ArrayLike, y: ArrayLike, *, gamma: float | None = None) -> float:
    """Return the squared maximum mean discrepancy of two populations of cells: mean k(x, x) + k(y, y) − 2 k(x, y).

    k(u, v) = exp(−γ‖u − v‖²). The means run over all pairs, a cell with itself too: never negative, 0 for the same
    cells, and a little above 0 for two samples of one population. Memory grows with the square of the cells.

    Parameters
    ----------
    x, y
        (cells × genes) or (cells × components). A gene that is not finite in every cell is left out.
    gamma
        1 over the median squared distance between two cells of both populations by default.

    References
    ----------
    Gretton et al. (2012). A kernel two-sample test. JMLR 13.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> round(metrics.mmd([[0.0]], [[1.0]], gamma=1.0), 4)
    1.2642
    """
    a, b = _cells(x, y)
    if not (len(a) and len(b) and a.shape[1]):
        return float("nan")
    squared = _squared_distances(np.vstack([a, b]))
    if gamma is None:
        middle = np.median(squared[np.triu_indices(len(squared), 1)])
        gamma = float(1 / middle) if middle > 0 else 1.0
    check_positive(gamma, "gamma")
    kernel = np.exp(-gamma * squared)
    n = len(a)
    value = kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
    return max(float(value), 0.0)


def _squared_distances(cells: Rows) -> Rows:
    rest = cells - cells.mean(axis=0)
    size = np.square(rest).sum(axis=1)
    squared = np.maximum(size[:, None] + size - 2 * (rest @ rest.T), 0)
    np.fill_diagonal(squared, 0)
    return squared


def _cells(x: ArrayLike, y: ArrayLike) -> tuple[Rows, Rows]:
    a, b = as_rows(x), as_rows(y)
    if a.shape[1] != b.shape[1]:
        msg = f"both populations must have the same genes (cells × genes); found {a.shape} and {b.shape}."
        raise ValueError(msg)
    known = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    return a[:, known], b[:, known]
