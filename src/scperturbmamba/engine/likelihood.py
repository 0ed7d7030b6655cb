"""The negative binomial: the definition of its likelihood, its expectation on the log-normalised scale, samples."""

from __future__ import annotations

import torch
from torch import Tensor

_LAST_COUNT = 128  # counts above are taken together
_TAIL_POINTS, _TAIL_STEP = 40, 1.3  # places that stand for the counts above, each so many times the one before
_NO_TAIL = 1e-5  # probability


def nb_log_likelihood(counts: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
    """Return the log-likelihood of counts; variance is ``mean + mean² / dispersion``; shapes broadcast."""
    r, m = dispersion, mean
    return (
        torch.lgamma(counts + r)
        - torch.lgamma(r)
        - torch.lgamma(counts + 1)
        - (counts + r) * torch.log1p(m / r)
        + torch.xlogy(counts, m / r)
    )


def nb_expected_log1p(rate: Tensor, dispersion: Tensor, size: Tensor) -> Tensor:
    """Return E[log(1 + y / s)] for y of mean ``s · rate``: the mean of log-normalised expression.

    Parameters
    ----------
    rate
        (..., genes), counts per unit of size.
    dispersion
        Same shape.
    size
        (sizes,), size factors of typical cells; the result is averaged over them.
    """
    s = size.view(-1, *[1] * rate.ndim)
    return _expected_log1p_at(rate * s, dispersion.expand_as(rate), s).mean(0)


def _expected_log1p_at(mean: Tensor, r: Tensor, s: Tensor) -> Tensor:
    """Sum over counts with the recursion p(y+1) = p(y) · (y + r) / (y + 1) · m / (m + r); lump the tail."""
    share = mean / (mean + r)
    p = torch.exp(-r * torch.log1p(mean / r))
    mass, first = p.clone(), torch.zeros_like(p)
    value = torch.zeros_like(p)
    for y in range(1, _LAST_COUNT + 1):
        p = p * (y - 1 + r) / y * share
        mass = mass + p
        first = first + y * p
        value = value + p * torch.log1p(y / s)
    tail = (1 - mass).clamp_min(0)
    tail_mean = ((mean - first).clamp_min(0) / tail.clamp_min(1e-7)).clamp_min(_LAST_COUNT)
    above = tail > _NO_TAIL
    gap = torch.zeros_like(tail)
    gap[above] = _tail_gap(*(one.expand_as(mean)[above][:, None] for one in (mean, r, s)))
    return value + tail * (torch.log1p(tail_mean / s) - gap)


def _tail_gap(mean: Tensor, r: Tensor, s: Tensor) -> Tensor:
    """Return how far E[log(1 + y / s)] lies below log(1 + E[y] / s) over the tail, where y is as a Gamma."""
    y = _LAST_COUNT * _TAIL_STEP ** (torch.arange(_TAIL_POINTS, dtype=mean.dtype, device=mean.device) + 0.5)
    weight = torch.softmax(r * y.log() - r / mean * y, dim=-1)
    return torch.log1p(weight @ y[:, None] / s)[:, 0] - (weight * torch.log1p(y / s)).sum(-1)


def nb_sample(mean: Tensor, dispersion: Tensor, generator: torch.Generator) -> Tensor:
    """Draw counts of the shape of ``mean``: a Poisson whose rate is a Gamma."""
    shape = dispersion.expand_as(mean)
    gamma = torch._standard_gamma(shape.double(), generator=generator)
    return torch.poisson(gamma * (mean / shape).double(), generator=generator)
