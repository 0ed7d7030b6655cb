"""A cell encoder by bidirectional Mamba-2: genes as a sequence along the genome."""

from __future__ import annotations

from torch import Tensor, nn

from scperturbmamba.engine.config import NetConfig, resolve
from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.inverse.reader import TokenReader
from scperturbmamba.engine.inverse.tokens import GeneVectors, HiddenGenes
from scperturbmamba.engine.mixers import Layer
from scperturbmamba.engine.tokens import GeneInputs

_EXPAND = 2


class BiMambaCells(nn.Module):
    """Scans over the genes in a given order; queries read what the tokens then say."""

    order: Tensor

    def __init__(self, config: InverseConfig, genes: GeneInputs, n_candidates: int, order: Tensor) -> None:
        super().__init__()
        n_genes = len(genes.chromosome)
        settings = {
            "width": config.width,
            "expand": _EXPAND,
            "head_width": _EXPAND * config.width // config.heads,
            "state": config.state,
            "dropout": config.dropout,
        }
        net = resolve(NetConfig, settings, "net")
        self.register_buffer("order", order)
        self.hide = HiddenGenes(config.gene_dropout)
        self.genes = GeneVectors(config.width, genes)
        self.layers = nn.ModuleList(Layer(net, n_genes) for _ in range(config.layers))
        self.reader = TokenReader(config, n_genes, n_candidates)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, candidates) for standardised expression (b, g)."""
        place, direction = (one[self.order] for one in self.genes())
        tokens = place + self.hide(x)[:, self.order, None] * direction
        for layer in self.layers:
            tokens = layer(tokens, has_condition=False)
        logits: Tensor = self.reader(place, tokens - place)
        return logits
