"""The network as a model: bidirectional Mamba-2 over a condition token and a token per gene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.data.kinds import Kinds
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.engine.fit import train
from scperturbmamba.engine.kernels import Engine
from scperturbmamba.engine.likelihood import nb_sample
from scperturbmamba.engine.predictor import Predictor, Sizes
from scperturbmamba.engine.screen import Screener
from scperturbmamba.engine.task import Task
from scperturbmamba.engine.tokens import ConditionInputs
from scperturbmamba.models.cell_statistics import cell_statistics
from scperturbmamba.models.counts import CountModel
from scperturbmamba.models.encoding import Encoder

_BATCH, _BATCH_NUMBERS = 32, 2**25  # conditions predicted at once, and numbers in their tokens


@dataclass
class BiMamba:
    """The network with all that it needs to predict: encoder, weights, control profiles.

    Attributes
    ----------
    net, training
        How it is built and trained.
    random_state
        Seed.
    device, engine
        Where it runs, and what scans.
    """

    net: NetConfig
    training: TrainConfig
    random_state: int = 0
    device: str = "auto"
    engine: Engine = "auto"

    def fit(self, data: Bundle, *, callbacks: Sequence[Any] = ()) -> Self:
        """Train on the training rows; the validation rows decide when to stop."""
        self.encoder = Encoder.fit(data)
        self.contexts = data.contexts
        self.control = data.control
        self.covariate_names = data.covariates.names
        self.control_covariates = data.covariates.control
        self.kinds = Kinds.of(data.conditions)
        self.seen = _seen(data, self.kinds)
        self.count_model = CountModel.fit(data.cells, len(data.contexts)) if data.cells is not None else None
        self.predictor = self._build(data)
        self.history = train(
            self.predictor,
            self._task(data),
            self.training,
            device=self.device,
            random_state=self.random_state,
            callbacks=callbacks,
        )
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return effects (conditions × genes) in the order of the screen, scale of X."""
        return self._unsorted(self._shifts(conditions, context)[0])

    def learn_features(self, tables: Sequence[FeatureTable]) -> None:
        """Take in features of genes that were not known at training, from tables of the same sources."""
        self.encoder = self.encoder.extended(tables)

    def sample(
        self, conditions: Sequence[Condition], n_cells: int, *, context: int = 0, random_state: int = 0
    ) -> NDArray[np.float32]:
        """Draw raw counts of cells, (conditions, cells, genes), from the negative binomial.

        Raises
        ------
        ValueError
            The head is not ``nb``.
        """
        if self.count_model is None:
            msg = 'sampled cells need the counts head; train with `head="nb"`.'
            raise ValueError(msg)
        _, shift, log_r = self._shifts(conditions, context)
        generator = torch.Generator().manual_seed(random_state)
        rate = torch.exp(torch.from_numpy(self.count_model.log_rate[context, self.encoder.order]) + shift)
        sizes = torch.from_numpy(self.count_model.sizes)
        drawn = sizes[torch.randint(len(sizes), (len(conditions), n_cells), generator=generator)]
        counts = nb_sample(rate[:, None] * drawn[..., None], torch.exp(log_r)[:, None], generator)
        return self._unsorted(counts.float())

    def stream(self, conditions: Sequence[Condition], *, context: int = 0) -> Iterator[NDArray[np.float32]]:
        """Yield what :meth:`predict` returns, a few rows at a time, in order."""
        for delta, _, _ in self._batches(conditions, context):
            yield self._unsorted(delta)

    def _shifts(self, conditions: Sequence[Condition], context: int) -> tuple[torch.Tensor, ...]:
        """Return effects on the scale of X, shifts and log dispersions, each (conditions, genes) by sequence order."""
        delta, shift, log_r = (torch.cat(parts) for parts in zip(*self._batches(conditions, context)))
        return delta, shift, log_r

    def _batches(self, conditions: Sequence[Condition], context: int) -> Iterator[tuple[torch.Tensor, ...]]:
        rows = np.full(len(conditions), context)
        covariates = np.repeat(self.control_covariates[None], len(conditions), axis=0)
        inputs = self.encoder.encode(conditions, rows, covariates)
        self.predictor.use_engine(self.engine)
        device = _torch_device(self.device)
        screener = Screener(self.predictor.to(device))
        try:
            for some in torch.arange(len(conditions)).split(self.batch_size()):
                delta, shift, log_r = self._one_batch(screener, inputs[some], device)
                keep = inputs.present[some].any(1).float()[:, None]  # the control is itself, whatever the network says
                yield delta * keep, shift * keep, log_r
        finally:
            self.predictor.cpu()

    def batch_size(self) -> int:
        """Return how many conditions are predicted at once."""
        return max(1, min(_BATCH, _BATCH_NUMBERS // (self.net.width * len(self.encoder.genes))))

    def _one_batch(self, screener: Screener, inputs: ConditionInputs, device: torch.device) -> tuple[torch.Tensor, ...]:
        effect = screener(inputs.to(device, self.predictor.scale.dtype))
        shift = effect.shift.float().cpu()
        if effect.log_dispersion is None or self.count_model is None:
            return shift, shift, torch.zeros_like(shift)
        log_r = effect.log_dispersion.float().cpu()
        return self._to_delta(shift, log_r, inputs.context), shift, log_r

    def _to_delta(self, shift: torch.Tensor, log_r: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Convert in the order of the sequence."""
        if self.count_model is None:
            return shift
        order = self.encoder.order
        sorted_model = CountModel(
            self.count_model.log_rate[:, order], self.count_model.log_dispersion[order], self.count_model.sizes
        )
        return sorted_model.to_delta(shift, log_r, context)

    def _unsorted(self, values: torch.Tensor) -> NDArray[np.float32]:
        """Bring the last axis from the order of the sequence to that of the screen."""
        result = np.empty(values.shape, np.float32)
        result[..., self.encoder.order] = values.numpy()
        return result

    def _build(self, data: Bundle) -> Predictor:
        rows = data.training()
        deltas = data.delta[rows][data.known[rows]]
        log_r = None
        if self.count_model is not None:
            log_r = torch.from_numpy(self.count_model.log_dispersion[self.encoder.order])
        with torch.random.fork_rng():
            torch.random.manual_seed(self.random_state)
            return build_predictor(
                self.net, self.encoder, self.control, len(self.covariate_names), float(deltas.std()) or 1.0, log_r
            )

    def _task(self, data: Bundle) -> Task:
        order = self.encoder.order
        rows = self.encoder.encode(data.conditions, data.context, data.covariates.rows)
        weight = np.sqrt(data.n_cells / np.median(data.n_cells)).clip(0.3, 2.0)
        cells = data.cells if self.net.head == "nb" else None
        statistics = log_rate = to_delta = None
        if cells is not None and self.count_model is not None:
            statistics = cell_statistics(cells, len(data.conditions), order)
            log_rate = torch.from_numpy(self.count_model.log_rate[:, order])
            to_delta = self._to_delta
        return Task(
            conditions=rows,
            labels=[condition.label for condition in data.conditions],
            delta=torch.from_numpy(np.ascontiguousarray(data.delta[:, order])),
            train=torch.from_numpy(data.training()),
            val=torch.from_numpy(np.flatnonzero(data.is_val)),
            weight=torch.from_numpy(weight.astype(np.float32)),
            cells=statistics,
            log_rate=log_rate,
            to_delta=to_delta,
            entry_weight=None if data.weight is None else torch.from_numpy(np.ascontiguousarray(data.weight[:, order])),
        )


def build_predictor(
    net: NetConfig,
    encoder: Encoder,
    control: NDArray[np.float32],
    n_covariates: int,
    scale: float,
    log_dispersion: torch.Tensor | None,
) -> Predictor:
    """Return an untrained network for an encoder and control profiles (contexts × genes, order of the screen)."""
    sizes = Sizes(
        n_parts=len(encoder.parts),
        n_kinds=len(encoder.kinds),
        n_part_features=encoder.features.shape[1],
        n_code=encoder.code.shape[1],
        n_covariates=max(1, n_covariates),
    )
    centre, spread = control.mean(), control.std() or 1.0
    state = torch.from_numpy(((control - centre) / spread)[:, encoder.order].astype(np.float32))
    return Predictor(net, encoder.gene_inputs(), sizes, state=state, scale=scale, log_dispersion=log_dispersion)


def _seen(data: Bundle, kinds: Kinds) -> dict[tuple[str, str], int]:
    """Return cells per (label, context) of the training rows."""
    return {
        (kinds.label(data.conditions[row]), data.contexts[data.context[row]]): int(data.n_cells[row])
        for row in data.training()
    }


def _torch_device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
