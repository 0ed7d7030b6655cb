"""The forward network: one condition token and a token per gene, through the mixers, to the head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.dose import DoseGate
from scperturbmamba.engine.heads import Effect, LinearHead, NegativeBinomialHead
from scperturbmamba.engine.kernels import Engine
from scperturbmamba.engine.mixers import BiMamba2, Layer
from scperturbmamba.engine.tokens import (
    ConditionInputs,
    ConditionToken,
    GeneInputs,
    GeneTokens,
    Memory,
    PairTokens,
    Patches,
    TargetMark,
)


@dataclass(frozen=True)
class Sizes:
    """How many of each thing a predictor knows; with the config they rebuild its shapes."""

    n_parts: int
    n_kinds: int
    n_part_features: int
    n_code: int
    n_covariates: int
    n_pairs: int = 0
    has_doses: bool = False


class Predictor(nn.Module):
    """Predict the change of every gene for a batch of conditions; the backbone runs once for each.

    Parameters
    ----------
    config
        The network.
    genes
        Features of the measured genes, in the order of the sequence.
    sizes
        Numbers of parts, kinds and features.
    state
        (contexts, genes): standardised control expression of each context.
    scale
        A typical effect, in the scale of the output.
    log_dispersion
        (genes,): where the ``nb`` head starts.
    """

    state: Tensor
    scale: Tensor

    def __init__(
        self,
        config: NetConfig,
        genes: GeneInputs,
        sizes: Sizes,
        *,
        state: Tensor,
        scale: float = 1.0,
        log_dispersion: Tensor | None = None,
    ) -> None:
        super().__init__()
        n_genes = len(genes.chromosome)
        length = 1 + -(-n_genes // config.patch)
        self.config = config
        self.register_buffer("state", state)
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.genes = GeneTokens(config, genes)
        self.condition = ConditionToken(
            config,
            n_parts=sizes.n_parts,
            n_kinds=sizes.n_kinds,
            widths=(sizes.n_part_features, sizes.n_code, sizes.n_covariates),
        )
        self.dose = DoseGate() if sizes.has_doses else None
        self.mark = TargetMark(config, sizes.n_kinds)
        self.memory = Memory(config, n_parts=sizes.n_parts, n_genes=n_genes) if config.memory else None
        self.pairs = PairTokens(config, sizes.n_pairs) if sizes.n_pairs else None
        self.patches = Patches(config) if config.patch > 1 else None
        self.layers = nn.ModuleList(Layer(config, length) for _ in range(config.layers))
        if config.head == "nb":
            start = torch.zeros(n_genes) if log_dispersion is None else log_dispersion
            self.head: nn.Module = NegativeBinomialHead(config, start)
        else:
            self.head = LinearHead(config, n_genes)
        if self.pairs is not None:
            nn.init.zeros_(self.head.get_parameter("out.weight"))

    def forward(self, conditions: ConditionInputs) -> Effect:
        """Return the effect of each condition on each gene, (b, genes)."""
        visible = self.condition.visible(conditions)
        sequence = self.tokens(conditions, self.condition_tokens(conditions, visible))
        return self.effect(sequence, conditions, visible)

    def condition_tokens(self, conditions: ConditionInputs, visible: Tensor) -> Tensor:
        """Return the condition tokens (b, width)."""
        token: Tensor = self.condition(conditions, visible, self.strength(conditions))
        return token

    def strength(self, conditions: ConditionInputs) -> Tensor | None:
        """Return how strongly each part acts at its dose (b, parts); None where no part has one."""
        if self.dose is None or conditions.dose is None:
            return None
        gates: Tensor = self.dose(conditions.dose)
        return gates

    def tokens(self, conditions: ConditionInputs, condition: Tensor) -> Tensor:
        """Return the mixed sequence (b, 1 + genes, width) for condition tokens (b, width)."""
        genes = self.static_tokens()[conditions.context]
        if self.pairs is not None and conditions.pairs is not None:
            genes = genes + self.pairs(conditions.pairs)
        together = genes if self.patches is None else self.patches.together(genes)
        sequence = torch.cat([condition[:, None].to(genes.dtype), together], dim=1)
        for layer in self.conditioned():
            sequence = layer(sequence, has_condition=True)
        if self.patches is None:
            return sequence
        return torch.cat([sequence[:, :1], self.patches.apart(sequence[:, 1:], genes)], dim=1)

    @property
    def shares_tokens(self) -> bool:
        """Whether the gene tokens are the same for every condition until it enters at the head of the sequence."""
        return self.pairs is None and self.patches is None

    def static_tokens(self) -> Tensor:
        """Return the gene tokens before the condition enters, (contexts, genes, width)."""
        genes: Tensor = self.genes(self.state).to(self.state.dtype)  # under autocast the sum of layers is in full
        for layer in self.layers[: self.config.static_layers]:
            genes = layer(genes, has_condition=False)
        return genes

    def conditioned(self) -> list[Layer]:
        """Return the layers that see the condition."""
        return [layer for layer in self.layers[self.config.static_layers :] if isinstance(layer, Layer)]

    def effect(self, sequence: Tensor, conditions: ConditionInputs, visible: Tensor) -> Effect:
        """Return what the mixed sequence (b, 1 + genes, width) says of the conditions."""
        return self.scaled(self.read(sequence[:, 1:], conditions), conditions, visible)

    def read(self, tokens: Tensor, conditions: ConditionInputs, genes: slice = slice(None)) -> Effect:
        """Return what the head reads off the tokens (b, t, width) of some genes."""
        effect: Effect = self.head(self.mark(tokens, conditions, genes.start or 0), genes)
        return effect

    def scaled(self, effect: Effect, conditions: ConditionInputs, visible: Tensor) -> Effect:
        """Return an effect on all genes with what is known by heart, on the scale of the output; 0 at dose 0."""
        shift, strength = effect.shift, self.strength(conditions)
        if self.memory is not None:
            shift = shift + self.memory(conditions, visible if strength is None else visible * strength)
        if self.pairs is not None and conditions.pairs is not None:
            shift = shift + self.pairs.straight(conditions.pairs)
        if self.dose is not None and strength is not None:
            shift = shift * self.dose.together(strength, conditions.present)
        return Effect(shift * self.scale, effect.log_dispersion)

    def use_engine(self, engine: Engine) -> None:
        """Choose what scans: ``"auto"``, ``"torch"`` or ``"mamba_ssm"``."""
        for module in self.modules():
            if isinstance(module, BiMamba2):
                module.engine = engine
