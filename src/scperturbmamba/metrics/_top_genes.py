"""Which genes to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scperturbmamba._checks import check_positive
from scperturbmamba.metrics._rows import Rows, as_rows, beside, pair


def highest_genes(control: ArrayLike, n: int = 1000) -> NDArray[np.int64]:
    """Return the indices of the genes highest in control, the highest first.

    Parameters
    ----------
    control
        (genes,) mean expression of control cells. What is not finite comes last; of equals the first comes first.
    n
        How many genes; all of them where there are fewer.

    References
    ----------
    Ahlmann-Eltze et al. (2025). Nature Methods 22; they score over 1000 genes.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.highest_genes([0.5, 2.0, 1.0], n=2).tolist()
    [1, 2]
    """
    profile = np.asarray(control, dtype=np.float64)
    if profile.ndim != 1:
        msg = f"`control` must be one profile (genes,); found shape {profile.shape}. Average the control cells first."
        raise ValueError(msg)
    check_positive(n, "n")
    return np.argsort(-np.where(np.isfinite(profile), profile, -np.inf), kind="stable")[:n]


def top_genes(strength: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return, for each row, the indices of the genes that change most, the strongest first.

    Parameters
    ----------
    strength
        (rows × genes), such as effects; its sign does not matter. What is not finite comes last; of equals the first
        comes first.
    n
        How many genes; all of them where there are fewer.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.top_genes([[0.1, -3.0, 2.0]], 2).tolist()
    [[1, 2]]
    """
    check_positive(n, "n")
    size = np.abs(as_rows(strength))
    return np.argsort(-np.where(np.isfinite(size), size, -1), axis=1, kind="stable")[:, :n]


def on_top_genes(
    truth: ArrayLike, predicted: ArrayLike, *, n: int, strength: ArrayLike | None = None
) -> tuple[Rows, Rows]:
    """Restrict both sides to the genes that change most in each row, for any metric of rows.

    Parameters
    ----------
    truth, predicted
        (rows × genes).
    n
        How many genes, chosen among those that are finite on both sides.
    strength
        (rows × genes) or (genes,) by which the genes are chosen, such as t statistics; the truth by default.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.mse(*metrics.on_top_genes([[0.0, 5.0]], [[9.0, 4.0]], n=1)).tolist()
    [1.0]
    """
    a, b = pair(truth, predicted)
    chosen_by = a if strength is None else beside(strength, a, what="`strength`")
    known = np.isfinite(a) & np.isfinite(b)
    top = top_genes(np.where(known, chosen_by, np.nan), n)
    return np.take_along_axis(a, top, axis=1), np.take_along_axis(b, top, axis=1)
