"""A small network that reads numbers of one pair, perturbation and gene, and corrects the score of that pair.

Shapes: n pairs, f numbers per pair. The correction starts at zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_HIDDEN, _DROPPED = 48, 0.1
_RATE, _DECAY = 2e-3, 1e-2
_BATCH, _SMALL_BATCH, _MANY = 1024, 256, 40_000


class PairNet(nn.Module):
    """Numbers of pairs (n, f) to a correction each (n,): a line plus two hidden layers."""

    def __init__(self, n_numbers: int) -> None:
        super().__init__()
        self.line = nn.Linear(n_numbers, 1)
        self.last = nn.Linear(_HIDDEN, 1)
        self.hidden = nn.Sequential(
            nn.Linear(n_numbers, _HIDDEN),
            nn.SiLU(),
            nn.Dropout(_DROPPED),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.SiLU(),
            nn.Dropout(_DROPPED),
        )
        for end in (self.line, self.last):
            nn.init.zeros_(end.weight)
            nn.init.zeros_(end.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return corrections (n,)."""
        return (self.line(x) + self.last(self.hidden(x))).squeeze(-1)


def fit_pair_nets(
    x: Tensor,
    offset: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    are_calls: bool,
    n_nets: int = 2,
    epochs: int = 12,
    seed: int = 0,
) -> list[PairNet]:
    """Fit networks that differ in their seed; the same seed gives the same ones.

    Parameters
    ----------
    x
        (n, f), standardised.
    offset
        (n,): score that is corrected.
    target, weight
        (n,): labels, and how much each counts.
    are_calls
        Labels are 0 or 1 and scores log-odds: logistic loss; squared error otherwise.
    n_nets, epochs
        Networks, and passes over the pairs.
    seed
        Seed of the first one.
    """
    nets = []
    for number in range(n_nets):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            nets.append(_fit(x, offset, target, weight, are_calls, epochs))
    return nets


@torch.no_grad()
def correction(nets: Sequence[PairNet], x: Tensor) -> Tensor:
    """Return the mean correction of several networks (n,)."""
    return torch.stack([net(x) for net in nets]).mean(0)


def _fit(
    x: Tensor,
    offset: Tensor,
    target: Tensor,
    weight: Tensor,
    are_calls: bool,
    epochs: int,
) -> PairNet:
    loss = nn.functional.binary_cross_entropy_with_logits if are_calls else nn.functional.mse_loss
    size = _BATCH if len(x) > _MANY else _SMALL_BATCH
    net = PairNet(x.shape[1])
    optimiser = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=_DECAY)
    steps = epochs * -(-len(x) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(size):
            errors = loss(net(x[batch]) + offset[batch], target[batch], reduction="none")
            optimiser.zero_grad()
            (weight[batch] * errors).mean().backward()
            optimiser.step()
            schedule.step()
    return net.eval()
