"""Other ways to lay out a sequence, tried on the residual: they are no part of the package, and can be measured again.

``"graph"``: genes that are alike in their features stand side by side, instead of along the genome. ``"blocks"``: the
state of the mixer starts anew at every chromosome, with the condition. ``"every"``: the condition is added to the token
of every gene. ``"pool"``: a mean over all gene tokens is given back to each.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from torch import Tensor, nn

from scperturbmamba.engine import ssd
from scperturbmamba.engine.mixers import BiLSTM, BiMamba2
from scperturbmamba.engine.predictor import Predictor
from scperturbmamba.engine.scan import EPS
from scperturbmamba.engine.ssd.edges import CHUNK, Edges
from scperturbmamba.engine.tokens import ConditionInputs
from scperturbmamba.models import neural
from scperturbmamba.models.frame import Frame

_FORGOTTEN = -30.0  # log of what is left of a state at a border


class Varied(Predictor):
    """A predictor with some of the variants."""

    def __init__(self, *given: Any, asked: Collection[str], **named: Any) -> None:
        super().__init__(*given, **named)
        self.asked = frozenset(asked)
        width = self.config.width
        if "pool" in self.asked:
            self.heard = nn.Sequential(nn.RMSNorm(width, eps=EPS), nn.Linear(width, width), nn.SiLU())
            self.told = nn.Linear(width, width, bias=False)
        if "blocks" in self.asked:
            layout = Blocks(self.genes.chromosome)
            for layer in self.layers:
                layer.mixer = blocked(layer.mixer, layout)

    def tokens(self, conditions: ConditionInputs, condition: Tensor) -> Tensor:
        """Return the mixed sequence (b, 1 + genes, width); a token per gene only."""
        genes = self.static_tokens()[conditions.context]
        if self.pairs is not None and conditions.pairs is not None:
            genes = genes + self.pairs(conditions.pairs)
        if "every" in self.asked:
            genes = genes + condition[:, None]
        if "pool" in self.asked:
            genes = genes + self.told(self.heard(genes).mean(1, keepdim=True))
        sequence = torch.cat([condition[:, None], genes], dim=1)
        for layer in self.layers:
            sequence = layer(sequence, has_condition=True)
        return sequence


class Blocks:
    """Where the tokens of each chromosome stand: the condition leads each block, and a blank token ends it.

    Attributes
    ----------
    place
        (l,): which token stands where; 0 is the condition, -1 a blank.
    back
        (1 + genes,): where each token is found again.
    by_block, inside
        (blocks × longest): which token stands where in each block, and whether there is one.
    """

    def __init__(self, chromosome: Tensor) -> None:
        starts = [0, *(np.flatnonzero(np.diff(chromosome.numpy())) + 1).tolist(), len(chromosome)]
        blocks = [[0, *range(1 + start, 1 + end), -1] for start, end in zip(starts[:-1], starts[1:])]
        self.by_block = nn.utils.rnn.pad_sequence([torch.tensor(one[:-1]) for one in blocks], batch_first=True)
        self.inside = torch.arange(self.by_block.shape[1]) < torch.tensor([len(one) - 1 for one in blocks])[:, None]
        self.place = torch.tensor([place for one in blocks for place in one])
        self.back = torch.cat([torch.zeros(1, dtype=torch.long), torch.nonzero(self.place > 0).squeeze(1)])

    def lay_out(self, u: Tensor) -> Tensor:
        """Return tokens (b, 1 + genes, width) as blocks (b, l, width); blanks are zero."""
        return u[:, self.place.clamp_min(0)] * (self.place >= 0).to(u.dtype)[:, None]


def blocked(mixer: nn.Module, layout: Blocks) -> nn.Module:
    """Return a mixer that starts anew at every block; one without a state stays as it is."""
    if isinstance(mixer, BiMamba2):
        return BlockedMamba(mixer, layout)
    return BlockedLSTM(mixer, layout) if isinstance(mixer, BiLSTM) else mixer


class BlockedMamba(nn.Module):
    """A Mamba-2 whose states are forgotten at borders."""

    def __init__(self, inner: BiMamba2, layout: Blocks) -> None:
        super().__init__()
        self.inner, self.layout = inner, layout

    def forward(self, u: Tensor, *, has_condition: bool) -> Tensor:
        """Mix tokens (b, 1 + genes, width)."""
        place, inner = self.layout.place, self.inner
        tokens = self.layout.lay_out(u)
        proj, weights, _, A = inner.read(tokens, has_condition=True)
        raw = inner.dt_proj(tokens).float().unflatten(-1, (2, inner.heads)) + inner.dt_bias
        dt = F.softplus(raw + (place == 0)[:, None, None] * inner.dt_condition) * (place >= 0)[:, None, None]
        found = ssd.mix(proj, weights, forgetful(dt, A, (place < 0) * _FORGOTTEN))
        out: Tensor = inner.out_proj(found[:, self.layout.back])
        return out


class BlockedLSTM(nn.Module):
    """An LSTM that reads every block by itself."""

    def __init__(self, inner: BiLSTM, layout: Blocks) -> None:
        super().__init__()
        self.inner, self.layout = inner, layout

    def forward(self, u: Tensor, *, has_condition: bool) -> Tensor:
        """Mix tokens (b, 1 + genes, width)."""
        inside, size = self.layout.inside, self.layout.inside.sum(1)
        rows = u[:, self.layout.by_block].flatten(0, 1)
        packed = nn.utils.rnn.pack_padded_sequence(rows, size.repeat(len(u)), batch_first=True, enforce_sorted=False)
        found = nn.utils.rnn.pad_packed_sequence(self.inner.lstm(packed)[0], batch_first=True)[0]
        mixed = found.unflatten(0, (len(u), -1))
        return torch.cat([mixed[:, 0, :1], mixed[:, :, 1:][:, inside[:, 1:]]], dim=1)


def forgetful(dt: Tensor, A: Tensor, reset: Tensor) -> Edges:
    """Return the edges of a scan as :func:`ssd.edges` does, with more decay (l,) at some tokens."""
    b, l, _, h = dt.shape
    dt = F.pad(dt, [0, 0, 0, 0, 0, -l % CHUNK])
    dt = dt.view(b, -1, CHUNK, 2, h).permute(3, 0, 1, 4, 2).contiguous()
    more = F.pad(reset, [0, -l % CHUNK]).view(-1, 1, CHUNK)
    log_decay = dt * A[:, None, None, :, None] + more
    S, E = log_decay[0].cumsum(-1), log_decay[1].cumsum(-1) - log_decay[1]
    total = log_decay.sum(-1)
    read = torch.stack([S, total[1][..., None] - E]).exp()
    write = torch.stack([total[0][..., None] - S, E]).exp() * dt
    return Edges(torch.stack([S, E]), dt, read, write, total.exp())


def varied(asked: Collection[str]) -> Any:
    """Return a context in which networks are built with some of the variants."""
    return patch.object(neural, "Predictor", partial(Varied, asked=asked) if asked else Predictor)


def along_the_graph(frame: Frame) -> Frame:
    """Return a frame in which genes with alike features are neighbours."""
    encoder = frame.encoder
    return frame.with_encoder(replace(encoder, order=alike(encoder.features[: len(encoder.genes)])))


def alike(features: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return an order of rows in which neighbours point the same way; rows of zeros come last."""
    length = np.linalg.norm(features, axis=1)
    known = np.flatnonzero(length > 0)
    unit = features[known] / length[known, None]
    apart = np.sqrt(np.maximum(1 - unit @ unit.T, 0))[np.triu_indices(len(known), 1)]
    leaves = leaves_list(optimal_leaf_ordering(linkage(apart, "average"), apart))
    return np.concatenate([known[leaves], np.flatnonzero(length == 0)])
