"""A token per measured gene: what it is, where it lies, and how it is expressed in this profile.

Shapes: b profiles, g genes, w numbers per token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scperturbmamba.engine.tokens import N_CHROMOSOMES, GeneInputs


class GeneVectors(nn.Module):
    """Two vectors per gene: where it stands among genes, and the direction in which its expression moves its token.

    Both are learned per gene, and from its chromosome (one-hot, 24; zeros where unknown), its locus and its features.
    Nothing here is about the perturbed gene of a profile.
    """

    known: Tensor

    def __init__(self, width: int, genes: GeneInputs) -> None:
        super().__init__()
        chromosome = F.one_hot(genes.chromosome, N_CHROMOSOMES)[:, : N_CHROMOSOMES - 1]
        self.register_buffer("known", torch.cat([chromosome.float(), genes.locus, genes.features], dim=1))
        n_genes, n_known = self.known.shape
        self.own = nn.Parameter(torch.randn(n_genes, 2 * width))
        self.describe = nn.Linear(n_known, 2 * width)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return (g, w) where genes stand, and (g, w) where they move."""
        place, direction = (self.own + self.describe(self.known)).chunk(2, dim=-1)
        return place, direction


class HiddenGenes(nn.Module):
    """Lets a share of the genes look as in control cells, in training."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Return expression (b, g), zero where a gene is hidden."""
        if not self.training or self.share == 0:
            return x
        return x * (torch.rand_like(x) >= self.share)
