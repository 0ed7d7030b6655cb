"""Pairwise graph attention: a gene listens to its neighbours, weighing each pair by both and by their edge.

Shapes: b profiles, g genes, d neighbours of a gene, e kinds of edges, w numbers per token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.inverse.reader import TokenReader
from scperturbmamba.engine.inverse.tokens import GeneVectors, HiddenGenes
from scperturbmamba.engine.scan import EPS
from scperturbmamba.engine.tokens import GeneInputs


@dataclass(frozen=True)
class GeneGraph:
    """Whom each gene listens to.

    Attributes
    ----------
    neighbours
        (g, d) integer: places of the genes that a gene listens to, itself among them.
    edges
        (g, d, e): weight of the edge in each kind; a row of zeros is padding.
    """

    neighbours: Tensor
    edges: Tensor


class PairAttention(nn.Module):
    """One round of listening, in several heads."""

    neighbours: Tensor
    edges: Tensor

    def __init__(self, config: InverseConfig, graph: GeneGraph) -> None:
        super().__init__()
        self.heads = config.heads
        self.register_buffer("neighbours", graph.neighbours)
        self.register_buffer("edges", graph.edges)
        self.norm = nn.RMSNorm(config.width, eps=EPS)
        self.value = nn.Linear(config.width, config.width, bias=False)
        self.listener = nn.Linear(config.width, config.heads, bias=False)
        self.speaker = nn.Linear(config.width, config.heads, bias=False)
        self.edge = nn.Linear(graph.edges.shape[-1], config.heads, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, place: Tensor, tokens: Tensor) -> Tensor:
        """Return (b, g, w): the tokens, and what they heard."""
        heard = self.value(tokens)[:, self.neighbours].unflatten(-1, (self.heads, -1))  # (b, g, d, heads, w / heads)
        weight = self.weights(self.norm(place + tokens))
        return tokens + self.dropout(self.out((weight[..., None] * heard).sum(2).flatten(2)))

    def weights(self, tokens: Tensor) -> Tensor:
        """Return how much each gene listens to its neighbours, (b, g, d, heads); it sums to 1 over them."""
        score = self.listener(tokens)[:, :, None] + self.speaker(tokens)[:, self.neighbours] + self.edge(self.edges)
        absent = (self.edges == 0).all(-1)[..., None]
        return F.leaky_relu(score, 0.2).masked_fill(absent, float("-inf")).softmax(2)


class GraphAttention(nn.Module):
    """Rounds of listening along the edges; queries read what the genes then say."""

    def __init__(self, config: InverseConfig, genes: GeneInputs, n_candidates: int, graph: GeneGraph) -> None:
        super().__init__()
        self.hide = HiddenGenes(config.gene_dropout)
        self.genes = GeneVectors(config.width, genes)
        self.layers = nn.ModuleList(PairAttention(config, graph) for _ in range(config.layers))
        self.reader = TokenReader(config, len(genes.chromosome), n_candidates)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, candidates) for standardised expression (b, g)."""
        place, direction = self.genes()
        tokens = self.hide(x)[..., None] * direction
        for layer in self.layers:
            tokens = layer(place, tokens)
        logits: Tensor = self.reader(place, tokens)
        return logits
