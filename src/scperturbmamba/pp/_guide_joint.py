r"""Call the guides of all cells from one model of ambient noise, carried guides and guides per cell.

A count is ambient, negative binomial with mean :math:`u_c \lambda_g`, or carried, zero-truncated negative binomial
with mean :math:`u_c m_g`. The capture :math:`u_c` of a cell is gamma distributed about 1. A set :math:`S` of carried
guides has the prior :math:`\rho_{|S|} \prod_{g \in S} w_g` over the sum of that product over all sets of its size.
The last size stands for all larger ones too. Sums over sets are elementary symmetric polynomials: no set is listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, logsumexp
from scipy.stats import gamma

from scperturbmamba.pp._guide_sets import Entries, backward, forward, symmetric_sums

Array = NDArray[np.float64]

_MOST_GUIDES = 8  # guides per cell that the prior tells apart
_NODES = 5
_CAPTURE_SHAPE = 5.0  # capture differs between cells with a coefficient of variation of 0.45
_AMBIENT_SHAPE = (0.5, 1e3)
_PRIOR_CELLS = 10.0  # a guide's own rates weigh as much as the pooled ones at this many cells
_FIT_CELLS = 30_000
_MOST_STEPS = 100
_TOLERANCE = 1e-6
_HIGHEST_THRESHOLD = 60
_LEAST = -70.0  # log likelihood of a count that cannot be ambient


@dataclass(frozen=True)
class GuideModel:
    """The fitted numbers: ``share`` is w, ``mean`` m, ``ambient`` lambda, ``number`` rho (of 0, 1, 2, … guides)."""

    share: Array
    mean: Array
    shape: float
    ambient: Array
    ambient_shape: float
    number: Array


def call_jointly(counts: sp.csr_matrix) -> tuple[sp.csr_matrix, Array]:
    """Fit the model; return the posterior that a cell carries a guide and each guide's threshold.

    Parameters
    ----------
    counts
        Cells × guides, UMIs; at least one is above zero.

    Returns
    -------
    Cells × guides (CSR, the entries of ``counts``), and per guide the least UMIs at which a cell that shows no
    other guide is called for it.
    """
    stride = -(-counts.shape[0] // _FIT_CELLS)
    model = fit(Entries.of(counts[::stride]))
    parts = [_chances_of(counts[start : start + _FIT_CELLS], model) for start in range(0, counts.shape[0], _FIT_CELLS)]
    return sp.vstack(parts, format="csr"), lone_thresholds(model)


def _chances_of(counts: sp.csr_matrix, model: GuideModel) -> sp.csr_matrix:
    entries = Entries.of(counts)
    carried, _ = posterior(entries, model)
    return sp.csr_matrix((carried, (entries.cell, entries.guide)), shape=counts.shape)


def fit(entries: Entries) -> GuideModel:
    """Estimate the model by expectation maximisation, from counts that stand out in their cell."""
    total = entries.per_cell(entries.umi)[entries.cell]
    carried = (entries.umi >= np.maximum(2, 0.1 * total)).astype(float)
    if not carried.any():
        carried = np.full(len(carried), 0.5)
    most = int(min(_MOST_GUIDES, entries.per_cell(carried).max() + 1, entries.n_guides))
    number = np.full(most + 1, 1 / (most + 1))
    for _ in range(_MOST_STEPS):
        model = _maximise(entries, carried, number)
        before = number
        carried, number = posterior(entries, model)
        if np.abs(number - before).max() < _TOLERANCE:
            break
    return model


def posterior(entries: Entries, model: GuideModel) -> tuple[Array, Array]:
    """Return per entry the chance that the guide is carried, and the mean chances of 0, 1, 2, … guides per cell."""
    captures, weights = _captures()
    prior = model.number / symmetric_sums(model.share, len(model.number) - 1)
    passes = [forward(*_chances(entries, model, capture), entries, len(prior)) for capture in captures]
    likelihood = [one.log_scale + np.log(one.sums @ prior) for one in passes]
    zeros = [_log_zeros(entries, model, capture) for capture in captures]
    log_node = np.log(weights)[:, None] + np.array(likelihood) + np.array(zeros)
    node = np.exp(log_node - logsumexp(log_node, axis=0))
    carried = np.zeros(len(entries.umi))
    number = np.zeros(len(prior))
    for share, one in zip(node, passes):
        by_number = one.sums * prior
        total = by_number.sum(axis=1)
        number += (by_number * (share / total)[:, None]).mean(axis=0)
        carried += (share / total)[entries.cell] * backward(one, entries, prior)
    return carried, number


def lone_thresholds(model: GuideModel) -> Array:
    """Return per guide the least UMIs at which a cell that shows no other guide is called; NaN where there are none."""
    n_guides = len(model.share)
    umi = np.arange(1, _HIGHEST_THRESHOLD + 1, dtype=float)
    guide = np.repeat(np.arange(n_guides), len(umi))
    cells = np.arange(len(guide))
    entries = Entries(cells, guide, np.tile(umi, n_guides), (slice(0, len(cells)),), len(cells), n_guides)
    called = (posterior(entries, model)[0] >= 0.5).reshape(n_guides, -1)
    return np.where(called.any(axis=1), umi[called.argmax(axis=1)], np.nan)


def _captures() -> tuple[Array, Array]:
    """Return the means of equal slices of the capture's distribution, and their weights."""
    edges = gamma.ppf(np.linspace(0, 1, _NODES + 1), _CAPTURE_SHAPE, scale=1 / _CAPTURE_SHAPE)
    below = gamma.cdf(edges, _CAPTURE_SHAPE + 1, scale=1 / _CAPTURE_SHAPE)
    return np.diff(below) * _NODES, np.full(_NODES, 1 / _NODES)


def _log_nb(umi: Array, mean: Array, shape: float) -> Array:
    norm = gammaln(umi + shape) - gammaln(shape) - gammaln(umi + 1)
    return norm + shape * np.log(shape / (shape + mean)) + umi * np.log(mean / (shape + mean))


def _log_truncated(umi: Array, mean: Array, shape: float) -> Array:
    return _log_nb(umi, mean, shape) - np.log1p(-((shape / (shape + mean)) ** shape))


def _chances(entries: Entries, model: GuideModel, capture: float) -> tuple[Array, Array]:
    """Return the likelihood of each entry as ambient and as carried, over the higher of the two at capture 1."""
    ambient, mean = model.ambient[entries.guide], model.mean[entries.guide]
    reference = np.maximum(
        _log_nb(entries.umi, ambient, model.ambient_shape), _log_truncated(entries.umi, mean, model.shape)
    )
    as_ambient = _log_nb(entries.umi, capture * ambient, model.ambient_shape) - reference
    as_carried = _log_truncated(entries.umi, capture * mean, model.shape) - reference
    return np.exp(np.maximum(as_ambient, _LEAST)), model.share[entries.guide] * np.exp(as_carried)


def _log_zeros(entries: Entries, model: GuideModel, capture: float) -> Array:
    """Return per cell the log likelihood of the guides it does not show."""
    each = _log_nb(np.zeros(len(model.ambient)), capture * model.ambient, model.ambient_shape)
    return each.sum() - entries.per_cell(each[entries.guide])


def _fit_shape(entries: Entries, carried: Array) -> float:
    """Return the shape of the counts of carried guides, pooled over guides."""
    umi, place = np.unique(entries.umi, return_inverse=True)
    weight = np.bincount(place, carried)
    mean = np.array([(weight * umi).sum() / weight.sum()])
    captures, share = _captures()

    def misfit(log_shape: float) -> float:
        shape = float(np.exp(log_shape))
        full = _untruncated(mean, shape)
        by_capture = _log_truncated(umi, captures[:, None] * full, shape)
        return -float((weight * logsumexp(by_capture + np.log(share)[:, None], axis=0)).sum())

    return float(np.exp(minimize_scalar(misfit, bounds=(-2, 4), method="bounded").x))


def _untruncated(mean: Array, shape: float) -> Array:
    """Return the mean of all counts, zero included, from the mean of those above zero."""
    full = mean.copy()
    for _ in range(30):
        full = mean * (1 - (shape / (shape + full)) ** shape)
    return np.maximum(full, 1e-3)


def _maximise(entries: Entries, carried: Array, number: Array) -> GuideModel:
    """Return the model at the present calls; a guide's rates are drawn to the pooled ones."""
    shape = _fit_shape(entries, carried)
    n_carrying = entries.per_guide(carried)
    share = (n_carrying + 0.5) / (n_carrying + 0.5).sum()
    real = entries.per_guide(carried * entries.umi)
    pooled = real.sum() / n_carrying.sum()
    mean = (real + _PRIOR_CELLS * pooled) / (n_carrying + _PRIOR_CELLS)
    stray = entries.per_guide((1 - carried) * entries.umi) + 1e-6
    expected = stray.sum() / entries.n_cells * share
    ambient = (stray + _PRIOR_CELLS) / (entries.n_cells - n_carrying + _PRIOR_CELLS / expected)
    pairs = ((1 - carried) * entries.umi * (entries.umi - 1)).sum() / entries.n_cells
    excess = pairs / ((1 + 1 / _CAPTURE_SHAPE) * (ambient**2).sum()) - 1
    ambient_shape = float(np.clip(1 / max(excess, 1e-9), *_AMBIENT_SHAPE))
    return GuideModel(share, _untruncated(mean, shape), shape, ambient, ambient_shape, np.maximum(number, 1e-9))
