"""The gate and the norm behind a scan: RMSNorm(y * SiLU(z)), token by token."""

from __future__ import annotations

import torch
from torch import Tensor

from scperturbmamba.engine.scan import inverse_rms
from scperturbmamba.engine.ssd.layout import Layout


def gate(lay: Layout, y: Tensor, z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output, in a room, and one over the root mean square, for y and z (rows, tokens, h p)."""
    _, opened = _open(lay, z)
    gated = opened.mul_(y)
    root = inverse_rms(gated)
    return gated.mul_(root).mul_(weight), root[..., 0]


def gate_backward(
    lay: Layout, d_out: Tensor, y: Tensor, z: Tensor, weight: Tensor, root: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of y and z, in rooms, and of the weight."""
    z, opened = _open(lay, z)
    normed = torch.mul(opened, y, out=lay.room("normed", *y.shape)).mul_(root[..., None])
    d_gated = lay.room("d_gated", *y.shape).copy_(d_out)
    product = torch.mul(d_gated, normed, out=lay.room("product", *y.shape))
    d_weight = product.sum((0, 1))
    along = product.mul_(weight).mean(-1, keepdim=True)
    d_gated.mul_(weight).addcmul_(normed, along, value=-1).mul_(root[..., None])
    d_z = torch.mul(d_gated, y, out=product)
    torch.ops.aten.silu_backward.grad_input(d_z, z, grad_input=d_z)
    return d_gated.mul_(opened), d_z, d_weight


def _open(lay: Layout, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return z and SiLU(z), each in a room."""
    z = lay.room("z", *z.shape).copy_(z)
    return z, torch.ops.aten.silu.out(z, out=lay.room("opened", *z.shape))
