"""Many conditions through one trained network, without doing twice what they share.

Layers before the condition see genes only: they run once. In the first layer that sees the condition, which stands at
the head of the sequence, all that a gene beyond the first chunk says is the same for every condition: its x, B, C, z
and steps, and what it hears from its right. What it hears from its left differs by the state that leaves the first
chunk, and so

    y_i = y_i(base) + decay(first chunk -> i) C_i . (H - H(base))

Exact, for the network and the gene tokens it was made for; later layers differ in every token and run in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from scperturbmamba.engine.heads import Effect
from scperturbmamba.engine.mixers import BiMamba2, Layer
from scperturbmamba.engine.predictor import Predictor
from scperturbmamba.engine.scan import EPS, activate, gated_norm
from scperturbmamba.engine.ssd import CHUNK, edges, run
from scperturbmamba.engine.ssd.inside import Inside
from scperturbmamba.engine.ssd.layout import Layout
from scperturbmamba.engine.tokens import ConditionInputs

_TOKENS = 256  # worked on at a time


class Screener:
    """Says what a predictor says, and does once what conditions share; the predictor must not change."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.genes: Tensor | None = None
        self.first: dict[int, FirstLayer] = {}

    @torch.no_grad()
    def __call__(self, conditions: ConditionInputs) -> Effect:
        """Return the effects of conditions, (b, genes)."""
        net = self.predictor
        if not net.shares_tokens:
            effect: Effect = net(conditions)
            return effect
        visible = net.condition.visible(conditions)
        tokens = net.condition_tokens(conditions, visible)
        if len(net.conditioned()) == 1 and len(conditions.context.unique()) == 1:
            return self._by_blocks(conditions, tokens, visible)
        sequence = tokens.new_empty(len(tokens), 1 + net.state.shape[1], net.config.width)
        for context in conditions.context.unique().tolist():
            some = conditions.context == context
            sequence[some] = self._first_layer(int(context))(tokens[some])
        for layer in net.conditioned()[1:]:
            sequence = layer(sequence, has_condition=True)
        return net.effect(sequence, conditions, visible)

    def _by_blocks(self, conditions: ConditionInputs, tokens: Tensor, visible: Tensor) -> Effect:
        """Read each block of tokens as soon as it is there, while it is in the cache."""
        net = self.predictor
        shifts: list[Tensor] = []
        log_rs: list[Tensor] = []
        for start, block in self._first_layer(int(conditions.context[0])).blocks(tokens):
            first = max(start - 1, 0)  # token 0 is the condition
            genes = slice(first, start - 1 + block.shape[1])
            effect = net.read(block[:, start == 0 :], conditions, genes)
            shifts.append(effect.shift)
            log_rs += [effect.log_dispersion] if effect.log_dispersion is not None else []
        log_r = torch.cat(log_rs, dim=1) if log_rs else None
        return net.scaled(Effect(torch.cat(shifts, dim=1), log_r), conditions, visible)

    def _first_layer(self, context: int) -> FirstLayer:
        if self.genes is None:
            self.genes = self.predictor.static_tokens()
        if context not in self.first:
            first = self.predictor.conditioned()[0]
            self.first[context] = FirstLayer(first, self.genes[context])
        return self.first[context]


class FirstLayer:
    """The first layer that sees the condition, for one context: genes (l - 1, width)."""

    def __init__(self, layer: Layer, genes: Tensor) -> None:
        self.layer, self.genes = layer, genes
        long = len(genes) > 2 * CHUNK
        self.known = Known.of(layer, layer.mixer, genes) if long and isinstance(layer.mixer, BiMamba2) else None

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return the layer's output (b, l, width) for condition tokens (b, width)."""
        out = tokens.new_empty(len(tokens), 1 + len(self.genes), tokens.shape[1])
        for start, block in self.blocks(tokens):
            out[:, start : start + block.shape[1]] = block
        return out

    def blocks(self, tokens: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield where a block of the sequence begins, and the block (b, t, width)."""
        if self.known is None:
            genes = self.genes.expand(len(tokens), -1, -1)
            yield 0, self.layer(torch.cat([tokens[:, None].to(genes.dtype), genes], dim=1), has_condition=True)
        else:
            yield from self.known.blocks(tokens)


@dataclass(frozen=True)
class Known:
    """What is the same for every condition; T tokens lie beyond the first chunk, the last chunk filled up.

    Attributes
    ----------
    layer, mixer, genes
        What this was made for.
    C
        (h, T, n): what a token reads, times what is left there of the state that left the first chunk.
    gate
        (h, T, 1, p): SiLU(z).
    base
        (h, T, 1, p): what the tokens read where the first token is zero, gated.
    out
        (h, p, width): scale of the norm, and projection.
    left
        (h, n, p): the state that left the first chunk, where the first token is zero.
    came
        (h, n, p): the state that comes to the first chunk from its right.
    """

    layer: Layer
    mixer: BiMamba2
    genes: Tensor
    C: Tensor
    gate: Tensor
    base: Tensor
    out: Tensor
    left: Tensor
    came: Tensor

    @classmethod
    def of(cls, layer: Layer, mixer: BiMamba2, genes: Tensor) -> Known:
        """Run the layer once, with zeros for the condition."""
        u = F.pad(genes, (0, 0, 1, 0))[None]
        proj, weights, dt, A = mixer.read(layer.norm(u.float()), has_condition=True)
        over = edges(dt, A)
        _, passed = run(proj, weights, over)
        keep = over.keep[0, 0, 1:-1].cumprod(0)  # (chunks beyond the first but one, h)
        before = torch.cat([torch.ones_like(keep[:1]), keep])[:, :, None]
        reach = (over.read[0, 0, 1:] * before).transpose(0, 1).flatten(1)  # (h, T)
        z = F.pad(proj[0, CHUNK:, : mixer.inner], (0, 0, 0, -proj.shape[1] % CHUNK))
        gate = F.silu(z).unflatten(-1, (mixer.heads, -1)).transpose(0, 1)  # (h, T, p)
        scaled = mixer.out_proj.weight * weights.norm
        return cls(
            layer,
            mixer,
            genes,
            C=passed.BC[0, 1:, :, mixer.state :].flatten(0, 1) * reach[..., None],
            gate=gate[:, :, None].contiguous(),
            base=(passed.y[0, 1:].transpose(0, 1).flatten(1, 2) * gate)[:, :, None],
            out=scaled.T.unflatten(0, (mixer.heads, -1)).contiguous(),
            left=passed.H[0, 0, 1],
            came=passed.H[1, 0, 1],
        )

    def blocks(self, tokens: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield where a block of the sequence begins, and the layer's output (b, t, width)."""
        first, left = self._first_chunk(tokens)
        yield 0, first
        change = (left - self.left).permute(1, 2, 0, 3).flatten(2)  # (h, n, b p)
        beyond = len(self.genes) + 1 - CHUNK
        for start in range(0, beyond, _TOKENS):
            some = slice(start, min(start + _TOKENS, beyond))
            genes = self.genes[CHUNK - 1 + some.start : CHUNK - 1 + some.stop]
            yield CHUNK + start, self._beyond(some, change, len(tokens)).add_(genes[:, None]).transpose(0, 1)

    def _beyond(self, some: slice, change: Tensor, b: int) -> Tensor:
        """Return what the mixer says of some tokens beyond the first chunk, (t, b, width)."""
        rows = (some.stop - some.start) * b
        mixed, squares = change.new_zeros(rows, self.out.shape[-1]), change.new_zeros(rows, 1)
        for h in range(self.mixer.heads):
            y = (self.C[h, some] @ change[h]).unflatten(1, (b, -1))  # (t, b, p)
            y = torch.addcmul(self.base[h, some], y, self.gate[h, some], out=y).flatten(0, 1)
            squares += torch.linalg.vector_norm(y, dim=-1, keepdim=True).square_()
            mixed.addmm_(y, self.out[h])
        root = squares.div_(self.mixer.inner).add_(EPS).rsqrt_()
        return mixed.mul_(root).unflatten(0, (-1, b))

    def _first_chunk(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the layer's output (b, q, width), and the state (b, h, n, p) that leaves to the right."""
        mixer, b = self.mixer, len(tokens)
        half = mixer.conv.weight.shape[-1] // 2  # the convolution looks beyond the chunk
        genes = self.genes[: CHUNK - 1 + half].expand(b, -1, -1)
        u = torch.cat([tokens[:, None].to(genes.dtype), genes], dim=1)
        proj, weights, dt, A = mixer.read(self.layer.norm(u.float()), has_condition=True)
        over = edges(dt[:, :CHUNK], A)
        decay, steps, read, write = (one[:, :, 0] for one in over[:4])  # (2, b, h, q)
        lay = Layout.of_inputs(proj[:, :CHUNK], weights, over)
        x, B, C = (one[:, :CHUNK] for one in activate(proj[..., mixer.inner :], weights))
        x = x.transpose(1, 2)  # (b, h, q, p)
        y = Inside(lay, B, C, decay, steps).matrix(weights.D) @ x + (read[1][..., None] * C[:, None]) @ self.came
        gated = gated_norm(y.transpose(1, 2).flatten(2), proj[:, :CHUNK, : mixer.inner], weights.norm)
        return u[:, :CHUNK] + mixer.out_proj(gated), (write[0][..., None] * B[:, None]).mT @ x
