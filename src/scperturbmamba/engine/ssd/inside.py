"""What the tokens of one chunk read of one another: the matrix M, and its gradient."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from scperturbmamba.engine.ssd.layout import Layout


class Inside:
    """M for s chunks and h heads, from B and C (s, q, n), decay and dt (2, s, h, q)."""

    def __init__(self, lay: Layout, B: Tensor, C: Tensor, decay: Tensor, dt: Tensor) -> None:
        S, E = decay
        self.lay, self.dt = lay, dt
        self.low, self.up = _triangles(lay.q, S.dtype, S.device)
        self.reads = lay.room("reads", len(B), 1, lay.q, lay.q)
        self.reads[:, 0] = torch.bmm(C, B.mT, out=lay.room("CB", len(B), lay.q, lay.q, fast=True))
        self.stays = torch.sub(S[..., :, None], S[..., None, :], out=self._room("stays")).clamp_max_(0)
        other = torch.sub(E[..., None, :], E[..., :, None], out=self._room("other")).clamp_max_(0)
        self.stays.add_(other).exp_()  # (s, h, q, q)

    def matrix(self, D: Tensor) -> Tensor:
        """Return M with D on its diagonal, (s, h, q, q), as a factor."""
        M = self._steps().mul_(self.stays).mul_(self.reads)
        M.diagonal(dim1=-2, dim2=-1).add_(D[:, None])
        return self.lay.factor("M", M)

    def backward(self, d_M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of C . B (s, q, q), of decay and of dt (2, s, h, q), for that of M, which is spent."""
        right, left = self.dt
        d_M.mul_(self.stays)
        d_reads = self._steps().mul_(d_M).sum(1)
        d_M.mul_(self.reads)
        lower = torch.mul(d_M, self.low, out=self._room("other"))
        upper = d_M.mul_(self.up)
        d_right, d_left = lower.sum(-2), upper.sum(-2)
        d_S = lower.mul_(right[..., None, :]).sum(-1) - right * d_right
        d_E = left * d_left - upper.mul_(left[..., None, :]).sum(-1)
        return d_reads, torch.stack([d_S, d_E]), torch.stack([d_right, d_left])

    def _steps(self) -> Tensor:
        """Return dt_j[right] for j <= i plus dt_j[left] for j >= i."""
        right, left = self.dt[..., None, :]
        steps = torch.mul(self.low, right, out=self._room("steps"))
        return steps.addcmul_(self.up, left)

    def _room(self, name: str) -> Tensor:
        return self.lay.room(name, self.dt.shape[1], self.lay.h, self.lay.q, self.lay.q)


@lru_cache(maxsize=8)
def _triangles(q: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return who reads whom to the left, and to the right; itself both ways."""
    with torch.inference_mode(mode=False):
        ones = torch.ones(q, q, dtype=dtype, device=device)
        return ones.tril(), ones.triu()
