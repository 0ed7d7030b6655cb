"""How strongly a part acts at its dose."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DoseGate(nn.Module):
    """A Hill function of the dose, learned: 0 at dose 0, 1 at the reference dose, and never falling.

    ``u**slope / (u**slope + half**slope)``, over what it is at 1, for doses ``u`` as shares of a reference dose.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_half = nn.Parameter(torch.tensor(-0.7))
        self.log_slope = nn.Parameter(torch.tensor(0.0))

    def forward(self, dose: Tensor) -> Tensor:
        """Return the gate of every dose, in the shape of the doses."""
        slope, half = self.log_slope.exp(), self.log_half.exp()
        risen = torch.where(dose > 0, dose.clamp(min=1e-12) ** slope, torch.zeros_like(dose))
        opened: Tensor = risen * (1 + half**slope) / (risen + half**slope)
        return opened

    def together(self, gates: Tensor, present: Tensor) -> Tensor:
        """Return how far conditions act at all (b, 1), from the gates of their parts (b, parts): 0 where none does."""
        silent = torch.where(present, 1 - gates.clamp(max=1), torch.ones_like(gates))
        return 1 - silent.prod(1, keepdim=True)
