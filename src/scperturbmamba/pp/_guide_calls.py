"""Call guides from their UMIs, one rule per function: threshold, dominant fraction, mixture, joint model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import gammaln

from scperturbmamba.pp._guide_joint import call_jointly

Array = NDArray[np.float64]

_FEWEST_CELLS = 10  # a guide seen in fewer cells takes the median threshold of the others
_STEPS = 200


@dataclass(frozen=True)
class GuideCalls:
    """Which guides a cell carries.

    Attributes
    ----------
    carried
        Cells × guides, boolean CSR: the guides that are called.
    possible
        Cells × guides, boolean CSR: those and the ones that the counts do not rule out.
    thresholds
        UMIs from which on each guide is called; NaN where no count would do.
    n_hidden
        Cells called for one guide though another one passes the threshold.
    """

    carried: sp.csr_matrix
    possible: sp.csr_matrix
    thresholds: Array
    n_hidden: int = 0


def by_threshold(counts: sp.csr_matrix, min_umi: float) -> GuideCalls:
    """Call every guide with at least ``min_umi`` UMIs."""
    return _above(counts, np.full(counts.shape[1], float(min_umi)))


def by_dominant_guide(counts: sp.csr_matrix, min_umi: float, min_fraction: float) -> GuideCalls:
    """Call the top guide where it has ``min_umi`` UMIs and ``min_fraction`` of the cell's; else all above ``min_umi``.

    A cell whose only guide above ``min_umi`` lacks the fraction is left open: possible, not called.
    """
    plain = _above(counts, np.full(counts.shape[1], float(min_umi)))
    total = np.asarray(counts.sum(axis=1)).ravel()
    highest = counts.max(axis=1).toarray().ravel()
    n_above = np.diff(plain.carried.indptr)
    dominates = (highest >= min_umi) & (highest >= min_fraction * total)
    cell = _rows(counts)
    is_top = counts.data == highest[cell]
    called = (counts.data >= min_umi) & np.where(dominates[cell], is_top, n_above[cell] > 1)
    hidden = int((dominates & (n_above > 1)).sum())
    return GuideCalls(_where(counts, called), _where(counts, called | (~dominates[cell] & (counts.data >= min_umi))),
                      plain.thresholds, hidden)  # fmt: skip


def by_mixture(counts: sp.csr_matrix, min_umi: float) -> GuideCalls:
    """Call guides above a threshold of their own, from a Poisson-Gaussian mixture of their log counts.

    A guide seen in fewer than ten cells takes the median threshold of the others, or ``min_umi`` where there are none.
    """
    thresholds = mixture_thresholds(counts)
    known = thresholds[np.isfinite(thresholds)]
    fallback = float(np.median(known)) if len(known) else float(min_umi)
    return _above(counts, np.where(np.isfinite(thresholds), thresholds, fallback))


def by_joint_model(counts: sp.csr_matrix, max_doubt: float) -> GuideCalls:
    """Call guides that are carried with a chance of 1/2; those with a chance of ``max_doubt`` remain possible."""
    chance, thresholds = call_jointly(counts)
    return GuideCalls(_where(chance, chance.data >= 0.5), _where(chance, chance.data >= max_doubt), thresholds)


def mixture_thresholds(counts: sp.csr_matrix) -> Array:
    """Fit a Poisson (ambient) and a Gaussian (carried) to each guide's log2 non-zero counts, all guides at once.

    Returns
    -------
    Per guide the least count from which on the Gaussian has the higher posterior; NaN for a guide that fewer than
    ten cells show.
    """
    guide, umi, n = _histograms(counts)
    n_guides = counts.shape[1]
    log_umi = np.log2(umi)
    total = np.bincount(guide, n, n_guides)
    top = np.zeros(n_guides)
    np.maximum.at(top, guide, log_umi)
    weight, mean, sd, rate = np.full(n_guides, 0.5), np.maximum(0.6 * top, 1), np.full(n_guides, 1.5), 0.2 + 0 * top
    for _ in range(_STEPS):
        carried = _gaussian_share(log_umi, weight[guide], mean[guide], sd[guide], rate[guide])
        size = np.bincount(guide, n * carried, n_guides) + 1e-9
        rest = np.maximum(total - size, 1e-9)
        weight = np.clip(size / np.maximum(total, 1), 1e-6, 1 - 1e-6)
        mean = np.bincount(guide, n * carried * log_umi, n_guides) / size
        spread = np.bincount(guide, n * carried * (log_umi - mean[guide]) ** 2, n_guides) / size
        sd = np.maximum(np.sqrt(spread), 0.1)
        rate = np.maximum(np.bincount(guide, n * (1 - carried) * log_umi, n_guides) / rest, 1e-3)
    called = (carried > 0.5) | (log_umi >= mean[guide])
    thresholds = np.full(n_guides, np.inf)
    np.minimum.at(thresholds, guide[called], umi[called])
    thresholds[(total < _FEWEST_CELLS) | ~np.isfinite(thresholds)] = np.nan
    return thresholds


def _gaussian_share(log_umi: Array, weight: Array, mean: Array, sd: Array, rate: Array) -> Array:
    """Return the posterior of the Gaussian component."""
    ambient = np.log1p(-weight) + log_umi * np.log(rate) - rate - gammaln(log_umi + 1)
    carried = np.log(weight) - 0.5 * ((log_umi - mean) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
    return 1 / (1 + np.exp(np.clip(ambient - carried, -50, 50)))


def _histograms(counts: sp.csr_matrix) -> tuple[NDArray[np.int64], Array, Array]:
    """Return guide, count and number of cells for each different non-zero count of each guide."""
    pairs = np.stack([counts.indices.astype(np.float64), counts.data.astype(np.float64)])
    unique, n = np.unique(pairs, axis=1, return_counts=True)
    return unique[0].astype(np.int64), unique[1], n.astype(float)


def _above(counts: sp.csr_matrix, thresholds: Array) -> GuideCalls:
    called = _where(counts, counts.data >= thresholds[counts.indices])
    return GuideCalls(called, called, thresholds)


def _where(table: sp.csr_matrix, chosen: NDArray[np.bool_]) -> sp.csr_matrix:
    """Return the chosen entries of a table as booleans."""
    cells = _rows(table)[chosen]
    marks = np.ones(len(cells), dtype=bool)
    return sp.csr_matrix((marks, (cells, table.indices[chosen])), shape=table.shape)


def _rows(table: sp.csr_matrix) -> NDArray[np.int64]:
    return np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
