"""The bidirectional state-space scan of Mamba-2, and the mixer around it, as they are defined.

Letters as in the paper (Dao and Gu, 2024), shapes everywhere the same:

==== ================ =======================================================
x    (b, l, h, p)     input, h heads of p channels
dt   (b, l, 2, h)     step sizes, not negative; index 0 reads left to right, 1 right to left
A    (2, h)           decay rates, not positive
B    (b, l, n)        what a token writes, shared by heads and directions
C    (b, l, n)        what a token reads
y    (b, l, h, p)     sum of both directions
==== ================ =======================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-5

Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class Weights(NamedTuple):
    """What a mixer learns between its projections; m = h p + 2 n channels are convolved."""

    taps: Tensor  # (m, k): a convolution over tokens, centred, k odd
    bias: Tensor  # (m,)
    D: Tensor  # (h,): what a token reads of its own x
    norm: Tensor  # (h p,)


def scan_sequential(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Scan token by token: the definition, and the oracle of every other form."""
    b, l, h, p = x.shape
    y = torch.zeros_like(x)
    for direction, order in ((0, range(l)), (1, range(l - 1, -1, -1))):
        state = x.new_zeros(b, h, p, B.shape[-1])
        outputs: dict[int, Tensor] = {}
        for t in order:
            step = dt[:, t, direction]  # (b, h)
            decay = torch.exp(step * A[direction])
            write = torch.einsum("bhp,bn->bhpn", step[..., None] * x[:, t], B[:, t])
            state = decay[..., None, None] * state + write
            outputs[t] = torch.einsum("bhpn,bn->bhp", state, C[:, t])
        y = y + torch.stack([outputs[t] for t in range(l)], dim=1)
    return y


def mix_with(scan: Scan, proj: Tensor, weights: Weights, dt: Tensor, A: Tensor) -> Tensor:
    """Do what lies between the projections of a mixer, step by step, with any scan.

    ``proj`` (b, l, 2 h p + 2 n) holds the gate z, then x, B and C as they go into the convolution.
    """
    inner, h = len(weights.norm), len(weights.D)
    n = (len(weights.bias) - inner) // 2
    z, mixed = proj.split([inner, inner + 2 * n], dim=-1)
    taps = weights.taps[:, None].to(mixed.dtype)
    mixed = F.conv1d(mixed.mT, taps, weights.bias.to(mixed.dtype), padding=taps.shape[-1] // 2, groups=len(taps)).mT
    x, B, C = F.silu(mixed).split([inner, n, n], dim=-1)
    x = x.unflatten(-1, (h, -1))
    y = scan(x, dt, A, B, C) + weights.D[:, None] * x
    return F.rms_norm(y.flatten(2) * F.silu(z), (inner,), weights.norm, EPS).to(proj.dtype)
