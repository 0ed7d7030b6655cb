"""Which parameters decay, and how the rate rises and falls."""

from __future__ import annotations

import math

from torch import nn


def by_decay(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return parameters without and with weight decay: only the matrices of mixers, gene tokens and head decay."""
    free: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in net.named_parameters():
        spared = parameter.ndim < 2 or name.startswith(("condition.", "mark.", "memory.")) or "identity" in name
        spared = spared or any(part in name for part in ("log_A", "dt_", "embedding"))
        (free if spared else decayed).append(parameter)
    return free, decayed


def rate(step: int, warm: int, total: int) -> float:
    """Return the share of the peak rate at a step: a straight rise, then a cosine down to zero."""
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))
