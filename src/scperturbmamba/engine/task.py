"""What a predictor is trained on, and what happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scperturbmamba.engine.cell_likelihood import CellStatistics
from scperturbmamba.engine.heads import Effect
from scperturbmamba.engine.tokens import ConditionInputs


@dataclass(frozen=True)
class Task:
    """What a predictor is trained on.

    Attributes
    ----------
    conditions
        Inputs of every row.
    labels
        Name of every row, for messages.
    delta
        (rows, genes): effects, in the order of the sequence, scale of X.
    train, val
        Places of the rows of either side; ``val`` may be empty.
    weight
        (rows,): weight of a row in the loss.
    cells
        For ``nb``: what the likelihood needs of the cells of each row.
    log_rate
        For ``nb``: (contexts, genes) log rate of the control cells.
    to_delta
        For ``nb``: from shifts, log dispersion and context to effects on the scale of X.
    base
        (rows, genes): what is added to the shift of the network, in its scale; None is nothing.
    centre
        (genes,): mean effect; where it is given, the direction of effects from it is a part of the loss.
    entry_weight
        (rows, genes): how much each number of ``delta`` counts, 0 where it is not known; None where all count the same.
    """

    conditions: ConditionInputs
    labels: Sequence[str]
    delta: Tensor
    train: Tensor
    val: Tensor
    weight: Tensor
    cells: CellStatistics | None = None
    log_rate: Tensor | None = None
    to_delta: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    entry_weight: Tensor | None = None
    base: Tensor | None = None
    centre: Tensor | None = None

    def on_base(self, effect: Effect, rows: Tensor) -> Effect:
        """Return an effect with what it is added to."""
        if self.base is None:
            return effect
        return Effect(effect.shift + self.base[rows].to(effect.shift.device), effect.log_dispersion)

    def mean_square(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return the mean square of values (rows, genes) over the genes, each by its weight."""
        if self.entry_weight is None:
            return values.square().mean(1)
        weight = self.entry_weight[rows].to(values.device)
        return (weight * values.square()).sum(1) / weight.sum(1).clamp_min(1e-12)

    def known(self, rows: Tensor) -> Tensor:
        """Return 1 where an effect was measured, (rows, genes)."""
        if self.entry_weight is None:
            return torch.ones_like(self.delta[rows])
        return (self.entry_weight[rows] > 0).to(self.delta.dtype)

    def training_mean(self) -> Tensor:
        """Return the mean effect of the training rows, (genes,), over what is known."""
        known = self.known(self.train)
        return (known * self.delta[self.train]).sum(0) / known.sum(0).clamp_min(1)


@dataclass
class History:
    """What happened in training: a row per validation, and why it ended."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    stopped: str = ""


def delta_of(effect: Effect, task: Task, context: Tensor) -> Tensor:
    """Return effects (rows, genes) on the scale of X, on the CPU."""
    shift = effect.shift.float().cpu()
    if task.to_delta is None or effect.log_dispersion is None:
        return shift
    return task.to_delta(shift, effect.log_dispersion.float().cpu(), context.cpu())
