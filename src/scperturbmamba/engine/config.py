"""What a network is and how it is trained, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class Config(BaseModel):
    """Frozen settings; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NetConfig(Config):
    """The network.

    Attributes
    ----------
    core
        ``"knowledge"``: the network learns what the knowledge core leaves over, behind a gate; None: it learns the
        whole effect by itself.
    mixer
        ``"mamba2"`` (bidirectional Mamba-2), ``"lstm"`` (bidirectional LSTM), or ``"mlp"``, where no gene hears of
        another: what a sequence is worth is told by comparison with it.
    order
        Genes along the ``"genome"``, or at ``"random"``, to be compared with.
    patch
        Neighbouring genes that share a token in the mixers; above 1 it is faster and coarser.
    layers
        Layers in all; the first ``static_layers`` of them see the genes before the condition enters.
    width
        Numbers per token.
    state
        Numbers per channel of the state of a scan (the paper's N).
    head_width
        Channels per head of a scan (the paper's P); ``expand * width`` is a multiple of it for ``"mamba2"``.
    expand
        Inner width of a mixer over ``width``.
    kernel
        Odd width of the centred convolution before a scan.
    identity_width
        Numbers of the learned identity embedding of a gene.
    position_width
        Numbers of the learned chromosome embedding.
    identity_dropout
        Share of training steps in which a perturbed gene's identity is hidden, so that its features must do.
    feature_dropout
        Share of a perturbed gene's features that is hidden in a training step, so that none of them is a name tag.
    memory
        Rank of what is learned by heart of each part seen in training, apart from the sequence; 0 is nothing.
    dropout
        Share of a mixer's output that is dropped in training.
    checkpoint
        Keep a layer's input only and run it again in the backward pass: less memory, a third more time.
    head
        ``"linear"`` (a value per gene) or ``"nb"`` (mean and dispersion of a negative binomial).
    """

    core: Literal["knowledge"] | None = "knowledge"
    mixer: Literal["mamba2", "lstm", "mlp"] = "mamba2"
    order: Literal["genome", "random"] = "genome"
    patch: int = Field(1, ge=1)
    layers: int = Field(2, ge=1)
    static_layers: int = Field(0, ge=0)
    width: int = Field(48, ge=2)
    state: int = Field(32, ge=1)
    head_width: int = Field(24, ge=1)
    expand: int = Field(2, ge=1)
    kernel: int = Field(3, ge=1)
    identity_width: int = Field(32, ge=1)
    position_width: int = Field(8, ge=1)
    identity_dropout: float = Field(0.5, ge=0, le=1)
    feature_dropout: float = Field(0.2, ge=0, lt=1)
    memory: int = Field(32, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    checkpoint: bool = False
    head: Literal["linear", "nb"] = "linear"

    @model_validator(mode="after")
    def _shapes_fit(self) -> NetConfig:
        if self.mixer == "mamba2" and (self.width * self.expand) % self.head_width:
            msg = f"width × expand = {self.width * self.expand} must be a multiple of head_width = {self.head_width}"
            raise ValueError(msg)
        if self.kernel % 2 == 0:
            msg = f"kernel must be odd, so that the convolution is centred; found {self.kernel}"
            raise ValueError(msg)
        if self.mixer == "lstm" and self.width % 2:
            msg = f"width must be even for the lstm, half for each direction; found {self.width}"
            raise ValueError(msg)
        if self.static_layers and self.patch > 1:
            msg = f"static_layers = {self.static_layers} needs a token per gene; found patch = {self.patch}"
            raise ValueError(msg)
        if self.static_layers >= self.layers:
            msg = f"static_layers = {self.static_layers} must be below layers = {self.layers}"
            raise ValueError(msg)
        return self


class TrainConfig(Config):
    """How a network is trained.

    Attributes
    ----------
    epochs
        At most so many passes over the training conditions.
    batch_conditions
        Conditions in a step; the backbone runs once for each.
    lr, weight_decay
        Peak rate of AdamW, and its decay, which spares embeddings, the condition encoder, norms and biases.
    warmup
        Share of the steps over which the rate rises; a cosine takes it down afterwards.
    clip
        Largest norm of the gradient.
    patience
        Training stops when the validation loss has been clearly worse than its best so many times in a row.
    every_n_epochs
        Validate every so many epochs.
    seeds
        Networks whose residuals are averaged, where there is a core.
    folds
        Folds of genes on which the gate of a residual is judged, each with a network of its own.
    precision
        Lightning's word: ``"32-true"``, ``"bf16-mixed"`` or ``"16-mixed"``.
    devices
        How many devices.
    folder
        Where the state of the training is kept at every validation. A later call with the same folder, data and
        settings goes on where the earlier one stopped, to the same numbers. None keeps nothing.
    logger
        A Lightning logger; it is not kept with the predictor.
    """

    epochs: int = Field(150, ge=1)
    batch_conditions: int = Field(16, ge=1)
    lr: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    warmup: float = Field(0.1, ge=0, lt=1)
    clip: float = Field(1.0, gt=0)
    patience: int = Field(6, ge=1)
    every_n_epochs: int = Field(5, ge=1)
    seeds: int = Field(3, ge=1)
    folds: int = Field(3, ge=2)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    devices: int = Field(1, ge=1)
    folder: str | None = None
    logger: Any = Field(None, exclude=True)


C = TypeVar("C", bound=Config)


def resolve(kind: type[C], given: C | Mapping[str, Any] | None, argument: str) -> C:
    """Return a checked configuration from one, from a mapping, or from nothing.

    Raises
    ------
    ValueError
        An unknown name or a value out of range; the message lists each.
    """
    if isinstance(given, kind):
        return given
    try:
        return kind(**dict(given or {}))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'settings'}: {one['msg']}" for one in error.errors())
        msg = f"`{argument}` is not valid: {faults}. Known: {list(kind.model_fields)}."
        raise ValueError(msg) from None
