"""Queries read genes by attention. Shapes: b profiles, g genes, q queries, h heads, w numbers per token."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.scan import EPS

_SOFT = 0.1  # of the usual first weights: at first expression hardly turns the attention, and no answer is preferred


class Attend(nn.Module):
    """Each query averages what all genes say, by a softmax over them in every head.

    Whom it listens to is told by where a gene stands, and by what it says. The mean of many unrelated values is small
    by the root of their number; it is given back.
    """

    def __init__(self, config: InverseConfig, heads: int, n_genes: int) -> None:
        super().__init__()
        width = config.width
        self.heads, self.gain, self.scale = heads, math.sqrt(n_genes), math.sqrt(heads / width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.key_said = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        with torch.no_grad():
            for one, scale in ((self.query, 1.0), (self.key, 1.0), (self.key_said, _SOFT)):
                one.weight.normal_(0, scale * width**-0.5)

    def forward(self, queries: Tensor, place: Tensor, said: Tensor) -> Tensor:
        """Return (b, q, w) for queries (b, q, w), genes that stand at (g, w) and what they say (b, g, w)."""
        keys = self._split(self.key(place) + self.key_said(said))
        weight = self._softmax(torch.einsum("bqhd,bghd->bhqg", self._split(self.query(queries)), keys))
        return self._written(torch.einsum("bhqg,bghd->bqhd", weight, self._split(self.value(said))))

    def of_expression(self, queries: Tensor, place: Tensor, x: Tensor, direction: Tensor) -> Tensor:
        """Return the same where genes say ``x[..., None] * direction``, and never lay that out."""
        asked = self._split(self.query(queries))
        score = torch.einsum("bqhd,ghd->bhqg", asked, self._split(self.key(place)))
        turned = torch.einsum("bqhd,ghd->bhqg", asked, self._split(self.key_said(direction)))
        weight = self._softmax(score + x[:, None, None] * turned) * x[:, None, None]
        return self._written(torch.einsum("bhqg,ghd->bqhd", weight, self._split(self.value(direction))))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1))

    def _softmax(self, score: Tensor) -> Tensor:
        return (self.scale * score).softmax(-1)

    def _written(self, read: Tensor) -> Tensor:
        out: Tensor = self.gain * self.out(read.flatten(2))
        return out


class Thought(nn.Module):
    """What a query makes of what it has read, added to it."""

    def __init__(self, config: InverseConfig) -> None:
        super().__init__()
        width = config.width
        self.think = nn.Sequential(
            nn.RMSNorm(width, eps=EPS), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, queries: Tensor) -> Tensor:
        """Return (b, q, w)."""
        return queries + self.dropout(self.think(queries))


class Reading(nn.Module):
    """States ask, by what they are and where they started, read what is expressed, and think."""

    def __init__(self, config: InverseConfig, heads: int, n_genes: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.width, eps=EPS)
        self.attend = Attend(config, heads, n_genes)
        self.thought = Thought(config)

    def forward(self, states: Tensor, start: Tensor, genes: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        """Return states (b, q, w) for starts (q, w), places and directions of genes (g, w), and expression (b, g)."""
        place, direction = genes
        read = self.attend.of_expression(self.norm(start + states), place, x, direction)
        thought: Tensor = self.thought(states + read)
        return thought


class TokenReader(nn.Module):
    """Learned cell-state queries read gene tokens once; the states together give the logits."""

    def __init__(self, config: InverseConfig, n_genes: int, n_candidates: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.queries, config.width))
        self.attend = Attend(config, config.heads, n_genes)
        self.thought = Thought(config)
        self.head = quiet_linear(config.queries * config.width, n_candidates)

    def forward(self, place: Tensor, tokens: Tensor) -> Tensor:
        """Return logits (b, candidates) for genes that stand at (g, w) and their tokens (b, g, w)."""
        states = self.attend(self.queries.expand(len(tokens), -1, -1), place, tokens)
        logits: Tensor = self.head(self.thought(states).flatten(1))
        return logits


def quiet_linear(n_in: int, n_out: int) -> nn.Linear:
    """Return a linear layer that starts near zero, so that training starts at no opinion."""
    layer = nn.Linear(n_in, n_out)
    with torch.no_grad():
        layer.weight *= _SOFT
    return layer
