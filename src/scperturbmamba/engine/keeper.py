"""Which weights of a training are kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Keeper:
    """Keeps the latest weights whose validation loss is not worse than the best by more than one standard error.

    The error is that of the paired difference over validation rows: with few of them the best epoch is mostly luck.
    """

    def __init__(self) -> None:
        self.waited = 0
        self.best: Tensor | None = None
        self.weights: dict[str, Tensor] | None = None

    def keep(self, losses: Tensor, net: nn.Module) -> bool:
        """Look at the losses of the validation rows; keep the weights and return True where they will do."""
        if not losses.isfinite().all():
            self.waited += 1
            return False
        if self.best is None or losses.mean() < self.best.mean():
            self.best = losses
        worse = losses - self.best
        error = worse.std() / len(worse) ** 0.5 if len(worse) > 1 else torch.zeros(())
        self.waited = self.waited + 1 if worse.mean() > error else 0
        if self.waited == 0:
            self.weights = {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}
        return self.waited == 0
