"""Which chunks are worked on together, and where tokens and states lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scperturbmamba.engine.scan import Weights
from scperturbmamba.engine.ssd.edges import Edges
from scperturbmamba.engine.ssd.scratch import SCRATCH

_TOKENS = {"cpu": 1024}  # worked on at a time, so that what lies between stays in the cache
_TOKENS_ELSEWHERE = 2**18


class Part(NamedTuple):
    """Chunks that are worked on together: some of one sequence, or all of several."""

    rows: slice
    chunks: slice
    tokens: slice


@dataclass(frozen=True)
class Layout:
    """Sizes, with the letters of the definition: b sequences of l tokens, c chunks of q, h heads of p, states of n."""

    b: int
    l: int
    c: int
    q: int
    h: int
    p: int
    n: int
    fast: torch.dtype  # of the factors of matrix products
    device: torch.device

    @classmethod
    def of_inputs(cls, proj: Tensor, weights: Weights, over: Edges) -> Layout:
        """Read the sizes off what a mixer gets."""
        _, b, c, h, q = over.dt.shape
        p, n = weights.inner // h, weights.state
        return cls(b=b, l=proj.shape[1], c=c, q=q, h=h, p=p, n=n, fast=proj.dtype, device=proj.device)

    @property
    def fine(self) -> torch.dtype:
        """The dtype of everything else."""
        return torch.promote_types(self.fast, torch.float32)

    def parts(self) -> list[Part]:
        """Return the chunks, a few at a time."""
        at_once = max(1, _TOKENS.get(self.device.type, _TOKENS_ELSEWHERE) // self.q)
        if self.c <= at_once:
            rows = at_once // self.c
            whole = slice(0, self.c), slice(0, self.l)
            return [Part(slice(i, min(i + rows, self.b)), *whole) for i in range(0, self.b, rows)]
        return [
            Part(
                slice(i, i + 1),
                slice(k, min(k + at_once, self.c)),
                slice(k * self.q, min((k + at_once) * self.q, self.l)),
            )
            for i in range(self.b)
            for k in range(0, self.c, at_once)
        ]

    def room(self, name: str, *shape: int, fast: bool = False) -> Tensor:
        """Return a scratch room."""
        return SCRATCH.take(name, shape, self.fast if fast else self.fine, self.device)

    def new(self, *shape: int, fine: bool = False) -> Tensor:
        """Return an array that outlives the call."""
        return torch.empty(shape, dtype=self.fine if fine else self.fast, device=self.device)

    def factor(self, name: str, value: Tensor) -> Tensor:
        """Return a value as a factor of a matrix product."""
        if value.dtype == self.fast:
            return value
        return self.room(name, *value.shape, fast=True).copy_(value)

    # --- chunks and tokens ---

    def of(self, value: Tensor, part: Part) -> Tensor:
        """Return the part of (b, c, ...) as a view (s, ...)."""
        return value[part.rows, part.chunks].flatten(0, 1)

    def both(self, value: Tensor, part: Part) -> Tensor:
        """Return the part of (2, b, c, ...), both directions, as a view (2, s, ...)."""
        return value[:, part.rows, part.chunks].flatten(1, 2)

    def to_chunks(self, tokens: Tensor, out: Tensor) -> None:
        """Write (rows, tokens, ...) into (s, q, ...), zero beyond the end of a sequence."""
        room = out.unflatten(0, (len(tokens), -1))  # (rows, chunks, q, ...)
        whole = tokens.shape[1] // self.q
        room[:, :whole] = tokens[:, : whole * self.q].unflatten(1, (whole, self.q))
        if rest := tokens.shape[1] - whole * self.q:
            room[:, whole, :rest] = tokens[:, whole * self.q :]
            room[:, whole, rest:] = 0

    def to_heads(self, tokens: Tensor, out: Tensor) -> None:
        """Write (rows, tokens, h p) into (s, h, q, p), zero beyond the end of a sequence."""
        self.to_chunks(tokens.unflatten(-1, (self.h, self.p)), out=out.transpose(1, 2))

    def to_tokens(self, chunks: Tensor, part: Part) -> Tensor:
        """Return (s, q, ...) as (rows, tokens, ...), without what lies beyond the end of a sequence."""
        tokens = chunks.unflatten(0, (part.rows.stop - part.rows.start, -1)).flatten(1, 2)
        return tokens[:, : part.tokens.stop - part.tokens.start]

    def heads_to_tokens(self, name: str, heads: Tensor, part: Part) -> Tensor:
        """Return (s, h, q, p) as (rows, tokens, h p), in a room."""
        room = self.room(name, len(heads), self.q, self.h * self.p)
        room.unflatten(-1, (self.h, self.p)).copy_(heads.transpose(1, 2))
        return self.to_tokens(room, part)

    # --- states ---

    def new_states(self) -> Tensor:
        """Return (2, b, c + 1, h, n, p): the state between two chunks, in each direction; none at the ends."""
        H = self.new(2, self.b, self.c + 1, self.h, self.n, self.p, fine=True)
        H[0, :, 0] = 0
        H[1, :, -1] = 0
        return H

    def arriving(self, name: str, H: Tensor, d: int, part: Part) -> Tensor:
        """Return the states that arrive at chunks travelling in direction d, (s, h, n, p), as a factor."""
        states = H[d, part.rows, part.chunks.start + d : part.chunks.stop + d]
        if len(states) == 1 and states.dtype == self.fast:
            return states[0]
        room = self.room(name, *states.shape, fast=True).copy_(states)
        return room.flatten(0, 1)

    def leaving(self, H: Tensor, d: int, part: Part) -> Tensor:
        """Return the place (rows, chunks, h, n, p) of what chunks give to direction d."""
        return H[d, part.rows, part.chunks.start + 1 - d : part.chunks.stop + 1 - d]

    def travel(self, H: Tensor, d: int, part: Part, keep: Tensor) -> None:
        """Add to what each chunk gives to direction d what it keeps of the state that arrived; keep (b, c, h).

        A hop per chunk, while the states are in the cache; parts come in the order of the direction.
        """
        first, last = part.chunks.start, part.chunks.stop
        states = H[d, part.rows, first : last + 1].unbind(1)
        kept = keep[part.rows, first:last, :, None, None].unbind(1)
        if d == 0:
            for k in range(0 if first else 1, last - first):
                states[k + 1].addcmul_(states[k], kept[k])
        else:
            for k in reversed(range(last - first - (last == self.c))):
                states[k].addcmul_(states[k + 1], kept[k])
