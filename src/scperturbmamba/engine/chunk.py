"""Inside one chunk of the scan: both directions in one matrix, with a backward written by hand.

For tokens i and j of a chunk, head by head, with letters as in :mod:`scperturbmamba.engine.scan`,

    y_i = sum_j  (C_i . B_j)  W_ij  x_j
    W_ij = exp(S_i - S_j) dt_j[right]   for j <= i
         + exp(E_j - E_i) dt_j[left]    for j >= i

The step is folded into the exponent, and what is not wanted is sent to minus infinity before ``exp``, so that nothing
overflows. ``W`` is made again in the backward pass instead of being kept: it is the largest array of the scan.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_IN_CACHE = 2**18  # numbers of W held at a time on a CPU
_SMALLEST = 1e-30  # a step of zero, as a padded token has; its gradient stays exact


def mix_inside(x: Tensor, reads: Tensor, S: Tensor, E: Tensor, dt: Tensor) -> Tensor:
    """Return what the tokens of each chunk read of one another.

    Parameters
    ----------
    x
        (b, c, q, h, p)
    reads
        (b, c, q, q): ``C_i . B_j``
    S, E
        (b, c, q, h): log decay up to a token, and before it as seen from the right
    dt
        (b, c, q, 2, h)

    Returns
    -------
    (b, c, q, h, p)
    """
    b, c, q, h, p = x.shape
    heads = x.transpose(2, 3).reshape(b * c, h, q, p)
    S, E = (one.transpose(2, 3).reshape(b * c, h, q) for one in (S, E))
    log_right, log_left = (dt + _SMALLEST).log().permute(3, 0, 1, 4, 2).reshape(2, b * c, h, q)
    mixed: Tensor = _Inside.apply(heads, reads.reshape(b * c, q, q), S, S - log_right, E + log_left, E)
    return mixed.view(b, c, h, q, p).transpose(2, 3)


class _Inside(torch.autograd.Function):
    """y = (reads * W) x with W = exp(u_i - v_j) to the left of i and exp(m_j - n_i) to its right.

    Works through a few chunks at a time in buffers that stay in the cache.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, reads: Tensor, u: Tensor, v: Tensor, m: Tensor, n: Tensor) -> Tensor:
        """Return (chunks, h, q, p)."""
        ctx.save_for_backward(x, reads, u, v, m, n)
        y = torch.empty_like(x)
        space = _Space(u, buffers=2)
        for part in space.parts:
            W, other = space.take(part)
            _one_way(W, u[part], v[part], space.before)
            _one_way(other, -n[part], -m[part], space.after)
            W.add_(other).mul_(reads[part, None])
            y[part] = W.to(x.dtype) @ x[part]
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        """Return gradients in the order of the inputs."""
        x, reads, u, v, m, n = ctx.saved_tensors
        dy = grads[0].contiguous()
        dx, d_reads = torch.empty_like(x), torch.empty_like(reads)
        du, dv, dm, dn = (torch.empty_like(u) for _ in range(4))
        space = _Space(u, buffers=5)
        for part in space.parts:
            left, right, W, dM, spare = space.take(part)
            _one_way(left, u[part], v[part], space.before)
            _one_way(right, -n[part], -m[part], space.after)
            torch.add(left, right, out=W)
            dM.copy_(dy[part] @ x[part].transpose(-1, -2))
            d_reads[part] = torch.mul(dM, W, out=spare).sum(1)
            dx[part] = W.mul_(reads[part, None]).to(x.dtype).transpose(-1, -2) @ dy[part]
            dM.mul_(reads[part, None])  # from here on d loss / d W
            left.mul_(dM)  # d loss / d exponent, to the left of i
            right.mul_(dM)
            du[part], dv[part] = left.sum(-1), -left.sum(-2)
            dm[part], dn[part] = right.sum(-2), -right.sum(-1)
        return dx, d_reads, du, dv, dm, dn


class _Space:
    """Buffers (chunks, h, q, q) for a few chunks at a time, and what bars tokens on either side of i."""

    def __init__(self, like: Tensor, *, buffers: int) -> None:
        chunks, h, q = like.shape
        step = chunks if like.is_cuda else max(1, _IN_CACHE // (h * q * q))
        self.parts = [slice(start, min(start + step, chunks)) for start in range(0, chunks, step)]
        self.buffers = [like.new_empty(min(step, chunks), h, q, q) for _ in range(buffers)]
        bar = like.new_full((q, q), -torch.inf)
        self.before, self.after = bar.triu(1), bar.tril(-1)

    def take(self, part: slice) -> list[Tensor]:
        return [buffer[: part.stop - part.start] for buffer in self.buffers]


def _one_way(out: Tensor, i: Tensor, j: Tensor, mask: Tensor) -> None:
    """Fill exp(i - j) where the mask is 0, and 0 where it is minus infinity."""
    torch.sub(i[..., :, None], j[..., None, :], out=out)
    out.add_(mask).exp_()
