"""Everything of a mixer between its two projections, part by part."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from scperturbmamba.engine.scan import Weights
from scperturbmamba.engine.ssd.convolution import Convolution
from scperturbmamba.engine.ssd.edges import Edges
from scperturbmamba.engine.ssd.gate import gate, gate_backward
from scperturbmamba.engine.ssd.inside import Inside
from scperturbmamba.engine.ssd.layout import Layout, Part


class Passed(NamedTuple):
    """What a pass leaves behind."""

    x: Tensor  # (b, c, h, q, p)
    y: Tensor  # (b, c, h, q, p): what tokens have read, before gate and norm
    BC: Tensor  # (b, c, q, 2 n)
    H: Tensor  # (2, b, c + 1, h, n, p): see Layout.new_states
    root: Tensor  # (b, l): one over the root mean square


def mix(proj: Tensor, weights: Weights, over: Edges) -> Tensor:
    """Convolve, scan both ways, gate and normalise.

    Parameters
    ----------
    proj
        (b, l, 2 h p + 2 n): the gate z, then what is convolved: x, B and C. Matrix products run in its dtype.
    weights
        What the mixer learns.
    over
        Steps and decays.

    Returns
    -------
    (b, l, h p), in the dtype of ``proj``.
    """
    mixed: Tensor = _Mix.apply(proj, *weights, *over)
    return mixed


def run(proj: Tensor, weights: Weights, over: Edges) -> tuple[Tensor, Passed]:
    """Do what :func:`mix` does, without a gradient, in two sweeps."""
    lay, z, source = _read(proj, weights, over)
    convolution = Convolution(lay, source, weights.taps, weights.bias)
    x, y = (lay.new(lay.b, lay.c, lay.h, lay.q, lay.p) for _ in range(2))
    BC, H = lay.new(lay.b, lay.c, lay.q, 2 * lay.n), lay.new_states()

    # 1. Left to right: x, B and C, and the state that travels right.
    for part in lay.parts():
        convolution.activate(part, lay.of(x, part), lay.of(BC, part))
        _hand_on(lay, 0, part, (x, BC[..., : lay.n]), over.write, H, over.keep)

    # 2. Right to left: the state that travels left, y = (M + D) x + (read C) H, then gate and norm.
    out, root = lay.new(*z.shape), lay.new(*z.shape[:2], fine=True)
    for part in reversed(lay.parts()):
        _hand_on(lay, 1, part, (x, BC[..., : lay.n]), over.write, H, over.keep)
        x_, y_, (B, C) = lay.of(x, part), lay.of(y, part), lay.of(BC, part).split(lay.n, dim=-1)
        M = Inside(lay, B, C, lay.both(over.decay, part), lay.both(over.dt, part)).matrix(weights.D)
        _product(M, x_, out=y_)
        for d in (0, 1):
            reader = _by_head(lay, C, lay.of(over.read[d], part))
            _add_product(y_, reader, lay.arriving("arrived", H, d, part))
        at = part.rows, part.tokens
        out[at], root[at] = gate(lay, lay.heads_to_tokens("y", y_, part), z[at], weights.norm)
    return out, Passed(x, y, BC, H, root)


class _Mix(torch.autograd.Function):
    """The pass, and its gradient in two sweeps of its own."""

    @staticmethod
    def forward(ctx: Any, proj: Tensor, *rest: Tensor) -> Tensor:
        """Return (b, l, h p)."""
        weights, over = Weights(*rest[:4]), Edges(*rest[4:])
        out, passed = run(proj, weights, over)
        ctx.save_for_backward(proj, *weights, *over, *passed)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        """Return gradients in the order of the inputs."""
        proj, *rest, x, y, BC, H, root = ctx.saved_tensors
        weights, over = Weights(*rest[:4]), Edges(*rest[4:])
        lay, z, source = _read(proj, weights, over)
        convolution = Convolution(lay, source, weights.taps, weights.bias)
        d_proj = torch.empty_like(proj)
        d_z, d_source = d_proj[..., : z.shape[-1]], d_proj[..., z.shape[-1] :]
        d_weights, d_over = Weights(*map(torch.zeros_like, weights)), Edges(*map(torch.empty_like, over))
        dy, dH = torch.empty_like(y), lay.new_states()
        read, keep = over.read.flip(0), over.keep.flip(0)  # gradients of states travel the other way

        # 1. Right to left: back through norm and gate; gradients of the states that travelled right travel left.
        for part in reversed(lay.parts()):
            at, dy_ = (part.rows, part.tokens), lay.of(dy, part)
            y_ = lay.heads_to_tokens("y", lay.of(y, part), part)
            d_y, d_z[at], d_norm = gate_backward(lay, grads[0][at], y_, z[at], weights.norm, root[at])
            d_weights.norm.add_(d_norm)
            lay.to_heads(d_y, out=dy_)
            _hand_on(lay, 1, part, (dy, BC[..., lay.n :]), read, dH, keep)

        # 2. Left to right: gradients of the others; back through M, through the states, and through the convolution.
        for part in lay.parts():
            _hand_on(lay, 0, part, (dy, BC[..., lay.n :]), read, dH, keep)
            x_, dy_, (B, C) = lay.of(x, part), lay.of(dy, part), lay.of(BC, part).split(lay.n, dim=-1)
            inside = Inside(lay, B, C, lay.both(over.decay, part), lay.both(over.dt, part))
            dx = _product(inside.matrix(weights.D).mT, dy_, out=lay.room("dx", *x_.shape, fast=True))
            d_M = _product(dy_, x_.mT, out=lay.room("d_M", *x_.shape[:3], lay.q, fast=True))
            d_M = d_M if d_M.dtype == lay.fine else lay.room("d_M", *d_M.shape).copy_(d_M)
            d_weights.D.add_(d_M.diagonal(dim1=-2, dim2=-1).sum((0, 2)))
            d_reads, d_decay, d_dt = inside.backward(d_M)
            lay.both(d_over.decay, part).copy_(d_decay)
            lay.both(d_over.dt, part).copy_(d_dt)

            d_tokens = lay.room("d_tokens", len(x_), lay.q, source.shape[-1])
            d_x, d_B, d_C = d_tokens.split([lay.h * lay.p, lay.n, lay.n], dim=-1)
            d_reads = lay.factor("d_reads", d_reads)
            d_B.copy_(d_reads.mT @ C)
            d_C.copy_(d_reads @ B)
            _through_states(lay, part, (x_, dy_, B, C), (H, dH), over, d_over, (dx, d_B, d_C))
            d_x.unflatten(-1, (lay.h, lay.p)).copy_(dx.transpose(1, 2))
            d_tokens = lay.to_tokens(d_tokens, part)
            convolution.backward(part, d_tokens, d_source, d_weights.taps, d_weights.bias)
        return d_proj, *d_weights, *d_over


def _through_states(
    lay: Layout,
    part: Part,
    saved: tuple[Tensor, ...],
    states: tuple[Tensor, Tensor],
    over: Edges,
    d_over: Edges,
    grads: tuple[Tensor, ...],
) -> None:
    """Add to the gradients of x, B and C, and set those of read, write and keep, for what passes between chunks."""
    (x, dy, B, C), (H, dH), (dx, d_B, d_C) = saved, states, grads
    read, write = lay.both(over.read, part), lay.both(over.write, part)
    d_scaled = lay.room("d_scaled", *x.shape[:3], lay.n, fast=True)
    spare = lay.room("through", *d_scaled.shape)
    for d in (0, 1):
        arrived = lay.arriving("arrived", H, d, part)
        asked = lay.arriving("asked", dH, 1 - d, part)  # the gradient of what the chunk handed on
        _add_product(dx, _by_head(lay, B, write[d]), asked)
        for one, other, value, scale, into, d_value in (
            (x, asked, B, write[d], d_over.write[d], d_B),
            (dy, arrived, C, read[d], d_over.read[d], d_C),
        ):
            _product(one, other.mT, out=d_scaled)
            lay.of(into, part).copy_(torch.mul(d_scaled, value[:, None], out=spare).sum(-1))
            d_value += torch.mul(d_scaled, scale[..., None], out=spare).sum(1)
        kept = torch.mul(arrived, asked, out=lay.room("kept", *arrived.shape))
        lay.of(d_over.keep[d], part).copy_(kept.sum((-2, -1)))


def _read(proj: Tensor, weights: Weights, over: Edges) -> tuple[Layout, Tensor, Tensor]:
    """Return the sizes, the gate z and what is convolved."""
    return Layout.of_inputs(proj, weights, over), proj[..., : weights.inner], proj[..., weights.inner :]


def _by_head(lay: Layout, value: Tensor, scale: Tensor) -> Tensor:
    """Return B or C (s, q, n) times a scale per head (s, h, q), (s, h, q, n), as a factor."""
    room = lay.room("scaled", *scale.shape, lay.n)
    return lay.factor("scaled", torch.mul(value[:, None], scale[..., None], out=room))


def _product(one: Tensor, other: Tensor, *, out: Tensor) -> Tensor:
    """Return one @ other for (s, h, ., .)."""
    torch.bmm(one.flatten(0, 1), other.flatten(0, 1), out=out.flatten(0, 1))
    return out


def _add_product(room: Tensor, one: Tensor, other: Tensor) -> None:
    """Add one @ other to room, for (s, h, ., .)."""
    room.flatten(0, 1).baddbmm_(one.flatten(0, 1), other.flatten(0, 1))


def _hand_on(
    lay: Layout, d: int, part: Part, pair: tuple[Tensor, Tensor], scale: Tensor, H: Tensor, keep: Tensor
) -> None:
    """Give what the chunks of a part say to direction d, and let it travel: (scale B)^T x, (n, q) @ (q, p).

    For a pair x (b, c, h, q, p) and B (b, c, q, n); scale (2, b, c, h, q) and keep (2, b, c, h) are those of both
    directions. With dy and C it is the gradient of a state.
    """
    x, B = (lay.of(one, part) for one in pair)
    scaled = _by_head(lay, B, lay.of(scale[d], part)).mT
    place = lay.leaving(H, d, part)
    if len(place) == 1 and place.dtype == x.dtype:
        _product(scaled, x, out=place[0])
    else:
        room = lay.room("given", len(x), lay.h, lay.n, lay.p, fast=True)
        place.copy_(_product(scaled, x, out=room).view(place.shape))
    lay.travel(H, d, part, keep[d])
