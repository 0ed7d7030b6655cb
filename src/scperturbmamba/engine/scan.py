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

    @property
    def inner(self) -> int:
        """Channels of all heads, h p."""
        return len(self.norm)

    @property
    def state(self) -> int:
        """Numbers of the state per channel, n."""
        return (len(self.bias) - self.inner) // 2


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
    x, B, C = activate(proj[..., weights.inner :], weights)
    y = scan(x, dt, A, B, C) + weights.D[:, None] * x
    return gated_norm(y.flatten(2), proj[..., : weights.inner], weights.norm).to(proj.dtype)


def activate(source: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """Convolve (b, l, m) and return x (b, l, h, p), B and C (b, l, n)."""
    taps = weights.taps[:, None].to(source.dtype)
    bias = weights.bias.to(source.dtype)
    mixed = F.conv1d(source.mT, taps, bias, padding=taps.shape[-1] // 2, groups=len(taps)).mT
    x, B, C = F.silu(mixed).split([weights.inner, weights.state, weights.state], dim=-1)
    return x.unflatten(-1, (len(weights.D), -1)), B, C


def gated_norm(y: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    """Return RMSNorm(y * SiLU(z)) for y and z (b, l, h p)."""
    return F.rms_norm(y * F.silu(z), (len(weight),), weight, EPS)


def inverse_rms(x: Tensor) -> Tensor:
    """Return one over the root mean square of each token, (..., 1)."""
    return torch.rsqrt(torch.linalg.vector_norm(x, dim=-1, keepdim=True).square() / x.shape[-1] + EPS)
