"""A centred convolution over tokens, channel by channel, then SiLU."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from scperturbmamba.engine.ssd.layout import Layout, Part


class Convolution:
    """Makes x, B and C out of what the projection says of each token, for a part at a time.

    Parameters
    ----------
    source
        (b, l, m)
    taps, bias
        (m, k) and (m,)
    """

    def __init__(self, lay: Layout, source: Tensor, taps: Tensor, bias: Tensor) -> None:
        self.lay, self.source, self.bias = lay, source, bias
        self.taps = taps.T.contiguous()  # (k, m)

    def convolve(self, part: Part) -> Tensor:
        """Return what SiLU gets, (rows, tokens, m), in a room."""
        shape = (part.rows.stop - part.rows.start, part.tokens.stop - part.tokens.start, len(self.bias))
        room = self.lay.room("convolved", *shape).copy_(self.bias)
        for k, here, there in self._reach(part):
            room[:, here].addcmul_(self.source[part.rows, there].to(room.dtype), self.taps[k])
        return room

    def activate(self, part: Part, x: Tensor, BC: Tensor) -> None:
        """Fill in x (s, h, q, p) and B beside C (s, q, 2 n)."""
        tokens = F.silu(self.convolve(part), inplace=True)
        inner = self.lay.h * self.lay.p
        self.lay.to_heads(tokens[..., :inner], out=x)
        self.lay.to_chunks(tokens[..., inner:], out=BC)

    def backward(self, part: Part, d_tokens: Tensor, d_source: Tensor, d_taps: Tensor, d_bias: Tensor) -> None:
        """Add the gradients of source, taps and bias, for those of what came out (rows, tokens, m), which are spent.

        Parts come in order; each finds its own tokens of ``d_source`` as the one before it left them.
        """
        d_conv = torch.ops.aten.silu_backward.grad_input(d_tokens, self.convolve(part), grad_input=d_tokens)
        d_bias += d_conv.sum((0, 1))
        half = len(self.taps) // 2
        first = part.tokens.start + half if part.tokens.start else 0
        d_source[part.rows, first : part.tokens.stop + half] = 0
        spare = self.lay.room("spare", *d_conv.shape)
        for k, here, there in self._reach(part):
            at = d_conv[:, here]
            d_taps[:, k] += torch.mul(at, self.source[part.rows, there], out=spare[:, here]).sum((0, 1))
            d_source[part.rows, there].addcmul_(at.to(d_source.dtype), self.taps[k].to(d_source.dtype))

    def _reach(self, part: Part) -> Iterator[tuple[int, slice, slice]]:
        """Yield each tap, the tokens of the part that have a neighbour there, and those neighbours."""
        start, stop = part.tokens.start, part.tokens.stop
        for k in range(len(self.taps)):
            offset = k - len(self.taps) // 2
            first, last = max(start, -offset), min(stop, self.lay.l - offset)
            last = max(first, last)
            yield k, slice(first - start, last - start), slice(first + offset, last + offset)
