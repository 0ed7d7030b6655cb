"""Cross-attention: learned cell-state queries over measured genes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.inverse.reader import Reading, quiet_linear
from scperturbmamba.engine.inverse.tokens import GeneVectors, HiddenGenes
from scperturbmamba.engine.tokens import GeneInputs


class CrossAttention(nn.Module):
    """Each query is a question that is put to every profile; after the first answer it depends on the profile.

    Keys are where genes stand and how they are expressed, values how they are expressed.
    """

    def __init__(self, config: InverseConfig, genes: GeneInputs, n_candidates: int) -> None:
        super().__init__()
        n_genes = len(genes.chromosome)
        self.hide = HiddenGenes(config.gene_dropout)
        self.genes = GeneVectors(config.width, genes)
        self.queries = nn.Parameter(torch.randn(config.queries, config.width))
        self.readings = nn.ModuleList(Reading(config, config.heads, n_genes) for _ in range(config.layers))
        self.head = quiet_linear(config.queries * config.width, n_candidates)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, candidates) for standardised expression (b, g)."""
        x = self.hide(x)
        genes, states = self.genes(), x.new_zeros(len(x), *self.queries.shape)
        for reading in self.readings:
            states = reading(states, self.queries, genes, x)
        logits: Tensor = self.head(states.flatten(1))
        return logits
