"""Can a perturbation be told from the others by its prediction.

Each function ranks the right row among all rows by distance. A tie counts as half, so that predictions that are all
the same are at chance, and in expectation nothing depends on the order of rows.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scperturbmamba._checks import check_choice
from scperturbmamba.metrics._distances import Distance, distances
from scperturbmamba.metrics._rows import Rows, pair, ratio

_ROUNDING = 1e-12  # relative to the largest distance of a row: nearer than that is a tie


def discrimination(
    truth: ArrayLike, predicted: ArrayLike, *, distance: Distance = "l1", target: ArrayLike | None = None
) -> Rows:
    """Return the perturbation discrimination score: 1 − (number of true effects nearer than the right one) / n.

    1 is best; n counts the right one as well, so that chance is (n + 1) / 2n. This is cell-eval's
    ``discrimination_score_l1``, ``_l2`` and ``_cosine``, the "PDS" of the Virtual Cell Challenge. A tie counts as
    half; cell-eval leaves it to the order of rows.

    Parameters
    ----------
    truth, predicted
        (rows × genes) effects.
    distance
        From the predicted effect to the true ones.
    target
        (rows,) index of the gene to leave out of each row's distances, −1 for none. cell-eval leaves out the gene
        whose name is the label of the perturbation, thus none for a combination.

    References
    ----------
    Wu et al. (2024). PerturBench. arXiv 2408.10609. Roohani et al. (2025). Virtual Cell Challenge. Cell 188.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.discrimination([[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.0], [0.8, 0.0]]).tolist()
    [1.0, 0.5]
    """
    check_choice(distance, get_args(Distance), "distance")
    a, b = pair(truth, predicted)
    before, others = _before_own(distances(b, a, distance, _target_genes(target, a)))
    return 1 - ratio(before, others + 1)


def centroid_accuracy(truth: ArrayLike, predicted: ArrayLike) -> Rows:
    """Return the share of other true profiles that are farther (Euclid) from the prediction than the right one.

    1 is best, 0.5 is chance, a tie counts as half. The "NIR" of Miller et al. is the same.

    Parameters
    ----------
    truth, predicted
        (rows × genes); NaN where there is no other row.

    References
    ----------
    Viñas Torné et al. (2025). Systema. Nature Biotechnology. Miller et al. (2025). bioRxiv 2025.10.20.683304.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.centroid_accuracy([[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.0], [0.8, 0.0]]).tolist()
    [1.0, 0.0]
    """
    a, b = pair(truth, predicted)
    before, others = _before_own(distances(b, a, "l2"))
    return 1 - ratio(before, others)


def rank(truth: ArrayLike, predicted: ArrayLike, *, metric: Literal["rmse", "cosine"] = "rmse") -> Rows:
    """Return the share of predictions of other perturbations that are nearer the observed row than the right one.

    0 is best, 0.5 is chance, a tie counts as half. This is PerturBench's rank over the n − 1 others; its code divides
    by n and breaks ties at random.

    Parameters
    ----------
    truth, predicted
        (rows × genes); NaN where there is no other row.
    metric
        What near means. PerturBench takes the RMSE of profiles and the cosine of log fold changes.

    References
    ----------
    Wu et al. (2024). PerturBench. arXiv 2408.10609.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.rank([[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.0], [0.0, 0.1]]).tolist()
    [0.0, 0.0]
    """
    check_choice(metric, ("rmse", "cosine"), "metric")
    a, b = pair(truth, predicted)
    before, others = _before_own(distances(a, b, "l2" if metric == "rmse" else "cosine"))
    return ratio(before, others)


def _before_own(measured: Rows) -> tuple[Rows, Rows]:
    """Return how many candidates come before the right one (a tie is half), and how many others there are."""
    own = measured.diagonal()[:, None]
    known = np.isfinite(measured)
    tie = _ROUNDING * np.where(known, measured, 0).max(axis=1, keepdims=True, initial=0)
    nearer = (measured < own - tie).sum(axis=1)
    tied = (np.abs(measured - own) <= tie).sum(axis=1) - 1
    return np.where(known.diagonal(), nearer + tied / 2, np.nan), known.sum(axis=1) - 1.0


def _target_genes(target: ArrayLike | None, rows: Rows) -> NDArray[np.bool_]:
    left_out = np.zeros(rows.shape, dtype=bool)
    if target is None:
        return left_out
    genes = np.asarray(target)
    n_rows, n_genes = rows.shape
    if genes.shape != (n_rows,) or genes.dtype.kind not in "iu" or (genes < -1).any() or (genes >= n_genes).any():
        msg = (
            f"`target` must hold an integer per row ({n_rows}), the index of a gene (0 to {n_genes - 1}) or -1; "
            f"found {genes.dtype} of {genes.shape}. Look each label up in the genes."
        )
        raise ValueError(msg)
    some = np.flatnonzero(genes >= 0)
    left_out[some, genes[some]] = True
    return left_out
