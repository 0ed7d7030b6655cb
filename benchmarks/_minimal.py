"""The plain chunked form of Mamba-2, after the listing in the paper (Dao and Gu, 2024): as one ports it to a CPU.

Two modules, one for each direction, added; everything left to autograd.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def segment_sums(a: Tensor) -> Tensor:
    """Return (..., t, t): sums of a over (j, i], minus infinity above the diagonal."""
    total = a.cumsum(-1)
    sums = total[..., :, None] - total[..., None, :]
    return sums.masked_fill(~torch.ones_like(sums, dtype=torch.bool).tril(), -torch.inf)


def ssd(x: Tensor, a: Tensor, B: Tensor, C: Tensor, chunk: int) -> Tensor:
    """Scan left to right: x (b, l, h, p) times its step, a (b, l, h) log decays, B and C (b, l, n)."""
    x, a, B, C = (one.unflatten(1, (-1, chunk)) for one in (x, a, B, C))
    a = a.permute(0, 3, 1, 2)  # (b, h, c, q)
    total = a.cumsum(-1)
    inside = torch.einsum("bcin,bcjn,bhcij,bcjhp->bcihp", C, B, segment_sums(a).exp(), x)
    states = torch.einsum("bcjn,bhcj,bcjhp->bchpn", B, (total[..., -1:] - total).exp(), x)
    states = torch.cat([torch.zeros_like(states[:, :1]), states], dim=1)
    between = segment_sums(F.pad(total[..., -1], (1, 0))).exp()
    states = torch.einsum("bhzc,bchpn->bzhpn", between, states)[:, :-1]
    outside = torch.einsum("bcin,bchpn,bhci->bcihp", C, states, total.exp())
    return (inside + outside).flatten(1, 2)


class Mamba2(nn.Module):
    """One direction."""

    def __init__(self, width: int, *, state: int = 64, head_width: int = 64, expand: int = 2, chunk: int = 64) -> None:
        super().__init__()
        self.inner, self.state, self.chunk = expand * width, state, chunk
        self.heads, mixed = self.inner // head_width, self.inner + 2 * state
        self.norm_in, self.norm = nn.RMSNorm(width), nn.RMSNorm(self.inner)
        self.in_proj = nn.Linear(width, self.inner + mixed + self.heads, bias=False)
        self.conv = nn.Conv1d(mixed, mixed, 4, padding=3, groups=mixed)
        self.dt_bias, self.log_A, self.D = (nn.Parameter(torch.rand(self.heads)) for _ in range(3))
        self.out_proj = nn.Linear(self.inner, width, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        """Mix (b, l, width); l is a multiple of the chunk."""
        parts = [self.inner, self.inner + 2 * self.state, self.heads]
        z, mixed, dt = self.in_proj(self.norm_in(u)).split(parts, dim=-1)
        mixed = F.silu(self.conv(mixed.mT)[..., : u.shape[1]].mT)
        x, B, C = mixed.split([self.inner, self.state, self.state], dim=-1)
        x, dt = x.unflatten(-1, (self.heads, -1)), F.softplus(dt + self.dt_bias)
        y = ssd(x * dt[..., None], -self.log_A.exp() * dt, B, C, self.chunk) + self.D[:, None] * x
        out: Tensor = self.out_proj(self.norm(y.flatten(2) * F.silu(z)))
        return out


class BothWays(nn.Module):
    """A residual layer of two directions, each with weights of its own."""

    def __init__(self, width: int, **options: int) -> None:
        super().__init__()
        self.right, self.left = Mamba2(width, **options), Mamba2(width, **options)

    def forward(self, u: Tensor) -> Tensor:
        """Mix (b, l, width)."""
        return u + self.right(u) + self.left(u.flip(1)).flip(1)
