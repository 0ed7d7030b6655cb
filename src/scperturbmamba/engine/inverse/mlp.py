"""A perceptron on expression."""

from __future__ import annotations

from torch import Tensor, nn

from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.inverse.tokens import HiddenGenes

_HIDDEN = 4  # hidden units over the width of a token


class ExpressionMLP(nn.Module):
    """Hidden layers over all genes, beside a straight line from expression to logits."""

    def __init__(self, config: InverseConfig, n_genes: int, n_candidates: int) -> None:
        super().__init__()
        hidden = _HIDDEN * config.width
        widths = [n_genes, *[hidden] * config.layers]
        self.hide = HiddenGenes(config.gene_dropout)
        self.hidden = nn.Sequential(
            *[
                nn.Sequential(nn.Linear(one, other), nn.SiLU(), nn.Dropout(config.dropout))
                for one, other in zip(widths, widths[1:])
            ]
        )
        self.head = nn.Linear(hidden, n_candidates)
        self.straight = nn.Linear(n_genes, n_candidates, bias=False)
        nn.init.zeros_(self.straight.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, candidates) for standardised expression (b, g)."""
        x = self.hide(x)
        logits: Tensor = self.head(self.hidden(x)) + self.straight(x)
        return logits
