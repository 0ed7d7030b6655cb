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
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.engine.fit import train
from scperturbmamba.engine.kernels import Engine
from scperturbmamba.engine.predictor import Predictor, Sizes
from scperturbmamba.engine.screen import Screener
from scperturbmamba.engine.task import Task
from scperturbmamba.models.cell_statistics import cell_statistics
from scperturbmamba.models.frame import Frame

_BATCH, _BATCH_NUMBERS = 32, 2**25  # conditions predicted at once, and numbers in their tokens


@dataclass(frozen=True)
class Told:
    """What a network is told beside the bundle, where it learns what something else leaves over.

    Attributes
    ----------
    base
        (rows × genes): effects that are foreseen without the network, scale of X.
    pairs
        (rows × genes × f): what is known of a condition and a gene together.
    centre
        (genes,): mean effect.
    importance
        (rows × genes): how much each number counts.
    """

    base: NDArray[np.float32]
    pairs: NDArray[np.float32]
    centre: NDArray[np.float32]
    importance: NDArray[np.float32]


@dataclass
class BiMamba:
    """The network and the frame of its screen.

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

    def fit(
        self, data: Bundle, *, frame: Frame | None = None, callbacks: Sequence[Any] = (), told: Told | None = None
    ) -> Self:
        """Train on the training rows; the validation rows decide when to stop.

        ``frame`` is that of the whole screen, where the bundle is a part of it.
        """
        self.frame = Frame.of(data, order=self.net.order) if frame is None else frame
        self.predictor = self._build(data, 0 if told is None else told.pairs.shape[2])
        self.history = train(
            self.predictor,
            self._task(data, told),
            self.training,
            device=self.device,
            random_state=self.random_state,
            callbacks=callbacks,
        )
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return effects (conditions × genes) in the order of the screen, scale of X."""
        return np.concatenate(list(self.stream(conditions, context=context)))

    def shifts(
        self, conditions: Sequence[Condition], context: int, pairs: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what the network says, effects or changes of the log rate, and log dispersions (conditions × genes).

        ``pairs`` (conditions × genes × f) is for a network that was told of them in training.
        """
        shift, log_r = (torch.cat(parts) for parts in zip(*self._batches(conditions, context, pairs)))
        return self._unsorted(shift), self._unsorted(log_r)

    def stream(self, conditions: Sequence[Condition], *, context: int = 0) -> Iterator[NDArray[np.float32]]:
        """Yield what :meth:`predict` returns, a few rows at a time, in order."""
        counts = self.frame.count_model
        for shift, log_r in self._batches(conditions, context, None):
            said = self._unsorted(shift)
            yield said if counts is None else counts.deltas(said, self._unsorted(log_r), context)

    def _batches(
        self, conditions: Sequence[Condition], context: int, pairs: NDArray[np.float32] | None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield shifts and log dispersions of some conditions after the other, by sequence order."""
        rows = np.full(len(conditions), context)
        covariates = np.repeat(self.frame.control_covariates[None], len(conditions), axis=0)
        inputs = self.frame.encoder.encode(conditions, rows, covariates, pairs)
        self.predictor.use_engine(self.engine)
        device = _torch_device(self.device)
        screener = Screener(self.predictor.to(device))
        try:
            for some in torch.arange(len(conditions)).split(self.batch_size()):
                effect = screener(inputs[some].to(device, self.predictor.scale.dtype))
                keep = inputs.present[some].any(1).float()[:, None]  # the control is itself, whatever the network says
                shift = effect.shift.float().cpu() * keep
                log_r = (
                    torch.zeros_like(shift) if effect.log_dispersion is None else effect.log_dispersion.float().cpu()
                )
                yield shift, log_r
        finally:
            self.predictor.cpu()

    def batch_size(self) -> int:
        """Return how many conditions are predicted at once."""
        return max(1, min(_BATCH, _BATCH_NUMBERS // (self.net.width * len(self.frame.encoder.genes))))

    def _to_delta(self, shift: torch.Tensor, log_r: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Convert in the order of the sequence."""
        if self.frame.count_model is None:
            return shift
        return self.frame.count_model.ordered(self.frame.encoder.order).to_delta(shift, log_r, context)

    def _unsorted(self, values: torch.Tensor) -> NDArray[np.float32]:
        """Bring the last axis from the order of the sequence to that of the screen."""
        result = np.empty(values.shape, np.float32)
        result[..., self.frame.encoder.order] = values.numpy()
        return result

    def _build(self, data: Bundle, n_pairs: int) -> Predictor:
        rows = data.training()
        deltas = data.delta[rows][data.known[rows]]
        with torch.random.fork_rng():
            torch.random.manual_seed(self.random_state)
            return build_predictor(self.net, self.frame, float(deltas.std()) or 1.0, n_pairs)

    def _task(self, data: Bundle, told: Told | None) -> Task:
        order = self.frame.encoder.order
        pairs = None if told is None else told.pairs
        rows = self.frame.encoder.encode(data.conditions, data.context, data.covariates.rows, pairs)
        weight = np.sqrt(data.n_cells / np.median(data.n_cells)).clip(0.3, 2.0)
        cells = data.cells if self.net.head == "nb" else None
        statistics = log_rate = to_delta = None
        if cells is not None and self.frame.count_model is not None:
            statistics = cell_statistics(cells, len(data.conditions), order)
            log_rate = torch.from_numpy(self.frame.count_model.log_rate[:, order])
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
            entry_weight=self._sorted(data.weight if told is None else told.importance),
            base=None if told is None else self._sorted(self._as_shift(told.base, data.context)),
            centre=None if told is None or cells is not None else self._sorted(told.centre),
        )

    def _as_shift(self, base: NDArray[np.float32], context: NDArray[np.int64]) -> NDArray[np.float32]:
        return base if self.frame.count_model is None else self.frame.count_model.to_shift(base, context)

    def _sorted(self, values: NDArray[np.float32] | None) -> torch.Tensor | None:
        """Bring the last axis from the order of the screen to that of the sequence."""
        return None if values is None else torch.from_numpy(np.ascontiguousarray(values[..., self.frame.encoder.order]))


def build_predictor(net: NetConfig, frame: Frame, scale: float, n_pairs: int = 0) -> Predictor:
    """Return an untrained network for a screen, which speaks in units of ``scale``."""
    encoder, control, counts = frame.encoder, frame.control, frame.count_model
    sizes = Sizes(
        n_parts=len(encoder.parts),
        n_kinds=len(encoder.kinds),
        n_part_features=encoder.features.shape[1],
        n_code=encoder.code.shape[1],
        n_covariates=max(1, len(frame.covariate_names)),
        n_pairs=n_pairs,
        has_doses=bool(encoder.doses.reference),
    )
    centre, spread = control.mean(), control.std() or 1.0
    state = torch.from_numpy(((control - centre) / spread)[:, encoder.order].astype(np.float32))
    log_r = None if counts is None else torch.from_numpy(counts.log_dispersion[encoder.order])
    return Predictor(net, encoder.gene_inputs(), sizes, state=state, scale=scale, log_dispersion=log_r)


def _torch_device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
