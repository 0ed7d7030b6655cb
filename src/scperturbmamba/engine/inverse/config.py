"""What a network of the inverse task is and how it is trained, checked before anything runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from scperturbmamba.engine.config import Config

Kind = Literal["mlp", "attention", "multihead", "cross_attention", "graph_attention", "bimamba"]


class InverseConfig(Config):
    """A network that names the perturbed genes of a profile, and its training.

    Attributes
    ----------
    kind
        ``"mlp"`` (a perceptron on expression), ``"attention"`` and ``"multihead"`` (the cell asks its genes, with one
        head or several), ``"cross_attention"`` (learned cell-state queries over gene tokens), ``"graph_attention"``
        (genes listen to their neighbours in a graph, then queries) or ``"bimamba"`` (genes along the genome, then
        queries).
    width
        Numbers per token; the perceptron has four times as many hidden units.
    heads
        Heads of an attention; ``width`` is a multiple of it. ``"attention"`` has one whatever this says.
    layers
        Layers of attention, of the graph, of the scan or of the perceptron.
    queries
        Cell states that are asked for at once; ``"attention"`` and ``"multihead"`` have one, the cell itself.
    state
        Numbers per channel of the state of a scan; ``"bimamba"`` only.
    neighbours
        Genes that a gene listens to, per kind of edge; ``"graph_attention"`` only.
    dropout
        Share of hidden numbers that are dropped in a training step.
    gene_dropout
        Share of genes that look as in control cells in a training step, so that no single gene is relied on.
    epochs
        At most so many epochs.
    units
        Profiles drawn anew for each epoch.
    batch_size
        Profiles in a step.
    cells
        Most cells that are averaged in a training profile; the numbers are spread evenly in the log, from 1.
    doubles
        Share of training profiles that are synthetic pairs of single perturbations.
    controls
        Share of training profiles that are control cells.
    class_weight
        From 0 (every profile counts the same) to 1 (a candidate's few profiles count together as much as all others).
    lr, weight_decay
        Peak rate of AdamW, and its decay.
    warmup
        Share of the steps over which the rate rises; a cosine takes it down afterwards.
    clip
        Largest norm of the gradient.
    patience
        Training stops when the validation loss has been clearly worse than its best so many times in a row.
    every_n_epochs
        Validate every so many epochs.
    """

    kind: Kind = "cross_attention"
    width: int = Field(64, ge=2)
    heads: int = Field(4, ge=1)
    layers: int = Field(1, ge=1)
    queries: int = Field(8, ge=1)
    state: int = Field(16, ge=1)
    neighbours: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    gene_dropout: float = Field(0.1, ge=0, lt=1)
    epochs: int = Field(30, ge=1)
    units: int = Field(2048, ge=1)
    batch_size: int = Field(128, ge=1)
    cells: int = Field(100, ge=1)
    doubles: float = Field(0.4, ge=0, le=1)
    controls: float = Field(0.1, ge=0, le=1)
    class_weight: float = Field(0.0, ge=0, le=1)
    lr: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    warmup: float = Field(0.1, ge=0, lt=1)
    clip: float = Field(1.0, gt=0)
    patience: int = Field(5, ge=1)
    every_n_epochs: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _shapes_fit(self) -> InverseConfig:
        if self.width % self.heads:
            msg = f"width = {self.width} must be a multiple of heads = {self.heads}"
            raise ValueError(msg)
        if self.doubles + self.controls > 1:
            msg = f"doubles + controls = {self.doubles + self.controls:.2f} must be at most 1"
            raise ValueError(msg)
        return self
