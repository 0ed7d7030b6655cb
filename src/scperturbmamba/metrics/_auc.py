"""Are the true ones scored above the false ones: areas under the ROC curve, 1 is best and 0.5 is chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scperturbmamba.metrics._rows import ratio


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the share of pairs of a true and a false entry in which the true one has the higher score.

    A tie counts as half: the area under the ROC curve, as ``sklearn.metrics.roc_auc_score``.

    Parameters
    ----------
    labels
        (entries,) 0 or 1.
    scores
        (entries,); entries whose score is NaN are left out. NaN where only one label is left.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.auc([1, 0, 0], [0.5, 0.5, 0.1])
    0.75
    """
    found = np.asarray(scores)
    return float(areas_per_group(np.zeros(found.shape, dtype=np.int64), labels, found, n_groups=1)[0])


def auc_per_gene(genes: ArrayLike, labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Return the area under the ROC curve of each readout gene, over its perturbations.

    A score that depends on the gene alone is worth exactly 0.5.

    Parameters
    ----------
    genes
        (entries,) names of the readout genes.
    labels
        (entries,) 0 or 1.
    scores
        (entries,); entries whose score is NaN are left out. NaN for a gene that has one label only.

    References
    ----------
    Wu et al. (2025). PerturbQA. ICLR.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.auc_per_gene(["A", "A", "B"], [1, 0, 1], [0.9, 0.2, 0.3])
    {'A': 1.0, 'B': nan}
    """
    names, group = np.unique(np.asarray(genes, dtype=str), return_inverse=True)
    areas = areas_per_group(group, labels, scores, n_groups=len(names))
    return dict(zip(names.tolist(), areas.tolist()))


def mean_auc_per_gene(genes: ArrayLike, labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the mean of :func:`auc_per_gene` over the genes that have both labels: PerturbQA's headline.

    Parameters
    ----------
    genes, labels, scores
        (entries,) as for :func:`auc_per_gene`. NaN where no gene has both labels.

    References
    ----------
    Wu et al. (2025). PerturbQA. ICLR.

    Examples
    --------
    >>> from scperturbmamba import metrics
    >>> metrics.mean_auc_per_gene(["A", "A", "B", "B"], [1, 0, 0, 1], [0.9, 0.2, 0.3, 0.3])
    0.75
    """
    areas = [area for area in auc_per_gene(genes, labels, scores).values() if not np.isnan(area)]
    return float(np.mean(areas)) if areas else float("nan")


def areas_per_group(
    group: NDArray[np.int64], labels: ArrayLike, scores: ArrayLike, *, n_groups: int
) -> NDArray[np.float64]:
    """Return an area for each group from the ranks of its scores: (Σ ranks − n₁(n₁ + 1)/2) / n₁n₀."""
    truth, value = (np.asarray(one, dtype=np.float64) for one in (labels, scores))
    _check_entries(group, truth, value)
    known = ~np.isnan(value)
    group, truth, value = group[known], truth[known], value[known]
    order = np.lexsort((value, group))
    group, truth, value = group[order], truth[order], value[order]
    n = np.bincount(group, minlength=n_groups)
    ranks = shared_places(group, value) - (np.cumsum(n) - n)[group]
    n_true = np.bincount(group, truth, minlength=n_groups)
    above = np.bincount(group, truth * ranks, minlength=n_groups) - n_true * (n_true + 1) / 2
    return ratio(above, n_true * (n - n_true))


def shared_places(group: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places from 1 along sorted entries; those that tie share their mean."""
    changes = np.ones(len(value), dtype=bool)
    changes[1:] = (group[1:] != group[:-1]) | (value[1:] != value[:-1])
    start = np.flatnonzero(changes)
    end = np.append(start[1:], len(value))
    return np.repeat((start + 1 + end) / 2, end - start)


def _check_entries(group: NDArray[np.int64], truth: NDArray[np.float64], value: NDArray[np.float64]) -> None:
    if not group.shape == truth.shape == value.shape or value.ndim != 1:
        msg = (
            f"labels and scores must be flat and of one length; found {truth.shape} and {value.shape} "
            f"for {group.shape}. Give one entry per perturbation and gene."
        )
        raise ValueError(msg)
    if not np.isin(truth, (0, 1)).all():
        msg = f"labels must be 0 or 1; found {np.unique(truth[~np.isin(truth, (0, 1))])[:5].tolist()}."
        raise ValueError(msg)
