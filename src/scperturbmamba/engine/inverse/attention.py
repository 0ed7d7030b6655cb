"""The cell asks its genes: one query, with one head or several."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.inverse.reader import Reading, quiet_linear
from scperturbmamba.engine.inverse.tokens import GeneVectors, HiddenGenes
from scperturbmamba.engine.tokens import GeneInputs


class CellAttention(nn.Module):
    """The query is the sum of what the cell's own genes say; it reads them by attention, and is added to."""

    def __init__(self, config: InverseConfig, genes: GeneInputs, n_candidates: int) -> None:
        super().__init__()
        n_genes = len(genes.chromosome)
        heads = config.heads if config.kind == "multihead" else 1
        self.hide = HiddenGenes(config.gene_dropout)
        self.genes = GeneVectors(config.width, genes)
        self.start = nn.Parameter(torch.randn(config.width))
        self.readings = nn.ModuleList(Reading(config, heads, n_genes) for _ in range(config.layers))
        self.scale = n_genes**-0.5
        self.head = quiet_linear(config.width, n_candidates)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, candidates) for standardised expression (b, g)."""
        x = self.hide(x)
        genes = self.genes()
        cell = (self.scale * x @ genes[1])[:, None]
        for reading in self.readings:
            cell = reading(cell, self.start, genes, x)
        logits: Tensor = self.head(cell.squeeze(1))
        return logits
