"""The gate and the norm behind a scan: RMSNorm(y * SiLU(z)), token by token."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from scperturbmamba.engine.scan import EPS
from scperturbmamba.engine.ssd.layout import Layout


def gate(lay: Layout, y: Tensor, z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output, in a room, and one over the root mean square, for y and z (rows, tokens, h p)."""
    gated = _open(lay, z).mul_(y)
    root = torch.linalg.vector_norm(gated, dim=-1).square_().div_(y.shape[-1]).add_(EPS).rsqrt_()
    return gated.mul_(root[..., None]).mul_(weight), root


def gate_backward(
    lay: Layout, d_out: Tensor, y: Tensor, z: Tensor, weight: Tensor, root: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of y and z, in rooms, and of the weight."""
    opened = _open(lay, z)
    normed = torch.mul(opened, y, out=lay.room("normed", *y.shape)).mul_(root[..., None])
    d_gated = lay.room("d_gated", *y.shape).copy_(d_out)
    product = torch.mul(d_gated, normed, out=lay.room("product", *y.shape))
    d_weight = product.sum((0, 1))
    along = product.mul_(weight).mean(-1, keepdim=True)
    d_gated.mul_(weight).addcmul_(normed, along, value=-1).mul_(root[..., None])
    d_z = torch.mul(d_gated, y, out=product)
    torch.ops.aten.silu_backward.grad_input(d_z, lay.room("z", *z.shape).copy_(z), grad_input=d_z)
    return d_gated.mul_(opened), d_z, d_weight


def _open(lay: Layout, z: Tensor) -> Tensor:
    return F.silu(lay.room("opened", *z.shape).copy_(z), inplace=True)
