"""From genes and conditions to tokens."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from scperturbmamba.engine.config import NetConfig

N_CHROMOSOMES = 25  # 1 to 22, X, Y, unknown


@dataclass(frozen=True)
class GeneInputs:
    """What is known of each measured gene, in the order of the sequence.

    Attributes
    ----------
    chromosome
        (genes,) integer: 0 to 21 for 1 to 22, then X, Y, unknown.
    locus
        (genes, k): Fourier features of start / chromosome length; zero where unknown.
    features
        (genes, f): all other numbers (pathway vectors, set membership, identity code), standardised.
    """

    chromosome: Tensor
    locus: Tensor
    features: Tensor


@dataclass(frozen=True)
class ConditionInputs:
    """A batch of conditions, each a padded set of parts.

    Attributes
    ----------
    index
        (b, parts) integer: place of the part's learned embedding; 0 where it has none.
    kind
        (b, parts) integer: place of the kind in the model's list; 0 is unknown.
    features
        (b, parts, f): features of the part, standardised.
    code
        (b, parts, c): fixed identity code of the part.
    present
        (b, parts) boolean: False is padding.
    place
        (b, parts) integer: place of the part among the gene tokens, -1 where it is not measured.
    context
        (b,) integer: row of ``state``.
    covariates
        (b, k): standardised covariates.
    pairs
        (b, genes, f): what is known of a condition and a gene together, standardised; None where nothing is.
    dose
        (b, parts): share of the reference dose, 1 for a part without a dose; None where no part has one.
    """

    index: Tensor
    kind: Tensor
    features: Tensor
    code: Tensor
    present: Tensor
    place: Tensor
    context: Tensor
    covariates: Tensor
    pairs: Tensor | None = None
    dose: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Tensor) -> ConditionInputs:
        return ConditionInputs(**{name: value[rows] for name, value in self.given()})

    def given(self) -> list[tuple[str, Tensor]]:
        """Return the arrays that are there, by name."""
        named = ((one.name, getattr(self, one.name)) for one in fields(self))
        return [(name, value) for name, value in named if value is not None]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ConditionInputs:
        """Move every array, and cast those of real numbers."""
        return ConditionInputs(**{name: _move(value, device, dtype) for name, value in self.given()})


def _move(value: Tensor, device: torch.device | str, dtype: torch.dtype | None) -> Tensor:
    return value.to(device, dtype) if value.is_floating_point() else value.to(device)


class GeneTokens(nn.Module):
    """A token per gene: learned identity, features, chromosome and locus, expression in control cells."""

    chromosome: Tensor
    locus: Tensor
    features: Tensor

    def __init__(self, config: NetConfig, genes: GeneInputs) -> None:
        super().__init__()
        n_genes = len(genes.chromosome)
        self.register_buffer("chromosome", genes.chromosome)
        self.register_buffer("locus", genes.locus)
        self.register_buffer("features", genes.features)
        self.identity = nn.Embedding(n_genes, config.identity_width)
        self.chromosome_embedding = nn.Embedding(N_CHROMOSOMES, config.position_width)
        self.locus_mlp = _mlp(genes.locus.shape[1], 2 * config.position_width, config.position_width)
        width = config.identity_width + 2 * config.position_width + genes.features.shape[1]
        self.project = nn.Linear(width, config.width)
        self.baseline = nn.Linear(1, config.width, bias=False)

    def forward(self, state: Tensor) -> Tensor:
        """Return (contexts, genes, width) for the standardised control expression (contexts, genes)."""
        parts = [
            self.identity.weight,
            self.features,
            self.chromosome_embedding(self.chromosome),
            self.locus_mlp(self.locus),
        ]
        tokens: Tensor = self.project(torch.cat(parts, dim=-1)) + self.baseline(state[..., None])
        return tokens


class ConditionToken(nn.Module):
    """One token for a set of parts; the order of the parts is of no account.

    A part is its own features, plus its identity (a learned embedding and a fixed code), which is hidden at random in
    training so that a gene never perturbed before is still told by its features.
    """

    def __init__(self, config: NetConfig, *, n_parts: int, n_kinds: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        n_features, n_code, n_covariates = widths
        self.hidden = config.identity_dropout
        self.hide = nn.Dropout(config.feature_dropout)
        self.identity = nn.Embedding(n_parts + 1, config.width, padding_idx=0)
        self.kind = nn.Embedding(n_kinds, config.width)
        self.code = nn.Linear(n_code, config.width, bias=False)
        self.features = _mlp(n_features, 2 * config.width, config.width)
        self.mix = _mlp(config.width, 2 * config.width, config.width)
        self.covariates = nn.Linear(n_covariates, config.width, bias=False)
        self.control = nn.Parameter(torch.zeros(config.width))

    def visible(self, conditions: ConditionInputs) -> Tensor:
        """Return (b, parts): 1 where the identity of a part seen in training is shown, 0 where it is hidden."""
        seen = (conditions.index > 0).to(self.control.dtype)
        if self.training and self.hidden > 0:
            seen = seen * (torch.rand_like(seen) >= self.hidden)
        return seen

    def forward(
        self, conditions: ConditionInputs, visible: Tensor | None = None, strength: Tensor | None = None
    ) -> Tensor:
        """Return (b, width); ``strength`` (b, parts) is how strongly each part acts."""
        seen = self.visible(conditions) if visible is None else visible
        identity = self.identity(conditions.index) + self.code(conditions.code)
        part = self.features(self.hide(conditions.features)) + self.kind(conditions.kind) + seen[..., None] * identity
        acts = conditions.present if strength is None else conditions.present * strength
        total = (part * acts[..., None]).sum(1)
        token: Tensor = self.control + total + self.mix(total) + self.covariates(conditions.covariates)
        return token


class PairTokens(nn.Module):
    """What is known of a condition and a gene together, for the gene's token, and straight for its effect.

    It starts at no effect: the network says nothing before it has learned something.
    """

    def __init__(self, config: NetConfig, n_pairs: int) -> None:
        super().__init__()
        self.into = nn.Linear(n_pairs, config.width, bias=False)
        self.effect = nn.Linear(n_pairs, 1, bias=False)
        nn.init.zeros_(self.effect.weight)

    def forward(self, pairs: Tensor) -> Tensor:
        """Return (b, genes, width) for pairs (b, genes, f)."""
        tokens: Tensor = self.into(pairs)
        return tokens

    def straight(self, pairs: Tensor) -> Tensor:
        """Return (b, genes)."""
        effect: Tensor = self.effect(pairs).squeeze(-1)
        return effect


class Patches(nn.Module):
    """Several neighbouring genes as one token, and back: a gene keeps its own token and hears that of its patch."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.size = config.patch
        self.down = nn.Linear(config.patch * config.width, config.width, bias=False)
        self.up = nn.Linear(config.width, config.patch * config.width, bias=False)

    def together(self, genes: Tensor) -> Tensor:
        """Return (b, patches, width) for genes (b, g, width); the last patch is filled up with zeros."""
        padded = nn.functional.pad(genes, (0, 0, 0, -genes.shape[1] % self.size))
        tokens: Tensor = self.down(padded.unflatten(1, (-1, self.size)).flatten(2))
        return tokens

    def apart(self, patches: Tensor, genes: Tensor) -> Tensor:
        """Return the genes (b, g, width) with what their patches (b, patches, width) say."""
        own = self.up(patches).unflatten(2, (self.size, -1)).flatten(1, 2)
        return genes + own[:, : genes.shape[1]]


class Memory(nn.Module):
    """What is known by heart of the parts seen in training: a low-rank change of every gene, summed over parts.

    Where a part's identity is hidden or new it says nothing, so that the rest of the network has to learn what can be
    told from features; without it the sequence would be spent on learning the training conditions by heart.
    """

    def __init__(self, config: NetConfig, *, n_parts: int, n_genes: int) -> None:
        super().__init__()
        self.identity = nn.Embedding(n_parts + 1, config.memory, padding_idx=0)
        self.genes = nn.Linear(config.memory, n_genes, bias=False)
        nn.init.zeros_(self.identity.weight)
        nn.init.normal_(self.genes.weight, std=config.memory**-0.5)

    def forward(self, conditions: ConditionInputs, visible: Tensor) -> Tensor:
        """Return (b, genes)."""
        change: Tensor = self.genes((visible[..., None] * self.identity(conditions.index)).sum(1))
        return change


class TargetMark(nn.Module):
    """Marks the tokens of the perturbed genes with what was done to them, for their own change.

    After the mixers: a mark that travelled would tell the other genes who was perturbed, and with it the training data
    could be learned by heart.
    """

    def __init__(self, config: NetConfig, n_kinds: int) -> None:
        super().__init__()
        self.mark = nn.Embedding(n_kinds, config.width)

    def forward(self, tokens: Tensor, conditions: ConditionInputs, first: int = 0) -> Tensor:
        """Add the marks to the tokens (b, t, width) of genes from a first one on."""
        place = conditions.place - first
        row, part = torch.nonzero(conditions.present & (place >= 0) & (place < tokens.shape[1]), as_tuple=True)
        if not len(row):
            return tokens
        marks = self.mark(conditions.kind[row, part]).to(tokens.dtype)
        return tokens.index_put((row, place[row, part]), marks, accumulate=True)


def _mlp(n_in: int, n_hidden: int, n_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_out))
