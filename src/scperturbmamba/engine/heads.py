"""Heads: from gene tokens to a change per gene, or to a distribution of counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.scan import EPS, inverse_rms


@dataclass(frozen=True)
class Effect:
    """What the network says of a batch of conditions.

    Attributes
    ----------
    shift
        (b, genes): change against the control, in the scale of X for the linear head, in log rate for ``nb``.
    log_dispersion
        (b, genes) for ``nb``, else None.
    """

    shift: Tensor
    log_dispersion: Tensor | None = None


class LinearHead(nn.Module):
    """One value per gene, plus a bias per gene, in units of a typical effect."""

    def __init__(self, config: NetConfig, n_genes: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.width, eps=EPS)
        self.out = nn.Linear(config.width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_genes))

    def forward(self, tokens: Tensor, genes: slice = slice(None)) -> Effect:
        """Read the tokens (b, t, width) of some genes."""
        return Effect(_normed(tokens.float(), self.norm, self.out).squeeze(-1) + self.bias[genes])


class NegativeBinomialHead(nn.Module):
    """Two values per gene: the change of the log rate, and the log dispersion around a gene's own."""

    def __init__(self, config: NetConfig, log_dispersion: Tensor) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.width, eps=EPS)
        self.out = nn.Linear(config.width, 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(len(log_dispersion)))
        self.log_dispersion = nn.Parameter(log_dispersion.clone())

    def forward(self, tokens: Tensor, genes: slice = slice(None)) -> Effect:
        """Read the tokens (b, t, width) of some genes."""
        shift, spread = _normed(tokens.float(), self.norm, self.out).unbind(-1)
        return Effect(shift + self.bias[genes], (0.1 * spread + self.log_dispersion[genes]).clamp(-4, 8))


def _normed(tokens: Tensor, norm: nn.RMSNorm, out: nn.Linear) -> Tensor:
    """Return out(norm(tokens)), dividing by the root mean square last, where few numbers are left."""
    return F.linear(tokens, out.weight * norm.weight) * inverse_rms(tokens)
