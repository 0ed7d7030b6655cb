"""From a configuration and what is known of the genes to a network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from scperturbmamba.engine.inverse.attention import CellAttention
from scperturbmamba.engine.inverse.bimamba import BiMambaCells
from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.inverse.cross_attention import CrossAttention
from scperturbmamba.engine.inverse.graph_attention import GeneGraph, GraphAttention
from scperturbmamba.engine.inverse.mlp import ExpressionMLP
from scperturbmamba.engine.tokens import GeneInputs


@dataclass(frozen=True)
class Genes:
    """What is known of the measured genes, in the order of a profile.

    Attributes
    ----------
    inputs
        Chromosome, locus (g, 1) as a share of the chromosome's length, features.
    order
        (g,) integer: places of the genes along the genome.
    graph
        Whom each gene listens to.
    """

    inputs: GeneInputs
    order: Tensor
    graph: GeneGraph


def build_inverse(config: InverseConfig, genes: Genes, n_candidates: int) -> nn.Module:
    """Return an untrained network: standardised expression (b, genes) to logits (b, candidates)."""
    inputs = genes.inputs
    match config.kind:
        case "mlp":
            return ExpressionMLP(config, len(inputs.chromosome), n_candidates)
        case "attention" | "multihead":
            return CellAttention(config, inputs, n_candidates)
        case "cross_attention":
            return CrossAttention(config, inputs, n_candidates)
        case "graph_attention":
            return GraphAttention(config, inputs, n_candidates, genes.graph)
        case "bimamba":
            return BiMambaCells(config, inputs, n_candidates, genes.order)
