"""What steps and decays say of each chunk; small, so that autograd may differentiate it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 64


class Edges(NamedTuple):
    """For b sequences of c chunks and h heads; index 0 of the first axis reads to the right, 1 to the left."""

    decay: Tensor  # (2, b, c, h, q): S, log decay up to a token; E, log decay of the tokens before it
    dt: Tensor  # (2, b, c, h, q): steps
    read: Tensor  # (2, b, c, h, q): what is left at a token of the state that arrived
    write: Tensor  # (2, b, c, h, q): what is left at the chunk's edge of what a token wrote
    keep: Tensor  # (2, b, c, h): what is left of a state after the chunk


def edges(dt: Tensor, A: Tensor, *, chunk: int = CHUNK) -> Edges:
    """Return the edges for steps (b, l, 2, h) and rates (2, h)."""
    b, l, _, h = dt.shape
    dt = F.pad(dt, [0, 0, 0, 0, 0, -l % chunk])
    dt = dt.view(b, -1, chunk, 2, h).permute(3, 0, 1, 4, 2).contiguous()  # (2, b, c, h, q)
    log_decay = dt * A[:, None, None, :, None]
    S, E = log_decay[0].cumsum(-1), log_decay[1].cumsum(-1) - log_decay[1]
    total = log_decay.sum(-1)  # (2, b, c, h)
    read = torch.stack([S, total[1][..., None] - E]).exp()
    write = torch.stack([total[0][..., None] - S, E]).exp() * dt
    return Edges(torch.stack([S, E]), dt, read, write, total.exp())
