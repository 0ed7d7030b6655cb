"""Train a predictor with Lightning: arrays in, the best weights and a history out."""

from __future__ import annotations

import hashlib
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Sampler

from scperturbmamba.engine.config import TrainConfig
from scperturbmamba.engine.heads import Effect
from scperturbmamba.engine.keeper import Keeper
from scperturbmamba.engine.predictor import Predictor
from scperturbmamba.engine.schedule import by_decay, rate
from scperturbmamba.engine.task import History, Task, delta_of

_STATE = "training"
_AVERAGED = 0.95  # of the averaged weights that a step leaves as they were
_TRAIN_ROWS_SCORED = 64  # enough to see the fit, cheap beside a pass over the training rows
_ACCELERATOR = {"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}


class Training(lightning.LightningModule):
    """Losses, validation and optimiser of a predictor."""

    def __init__(
        self,
        net: Predictor,
        task: Task,
        config: TrainConfig,
        *,
        n_steps: int,
        random_state: int,
    ) -> None:
        super().__init__()
        self.net, self.task, self.config, self.n_steps = net, task, config, n_steps
        self.averaged = AveragedModel(net, avg_fn=_running).requires_grad_(requires_grad=False).eval()
        self.random_state = random_state
        self.history = History()
        self.keeper = Keeper()
        self.started = time.perf_counter()
        self._epoch_losses: list[float] = []

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        """Seed what is random in this step, so that a resumed training repeats what it would have done."""
        torch.random.manual_seed(_seed(self.random_state, self.global_step))

    def on_train_batch_end(self, *_: Any) -> None:
        """Take the step into the running average of the weights, which is what is validated and kept."""
        self.averaged.update_parameters(self.net)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of: history, the weights kept, what this training is."""
        checkpoint["spm"] = {
            "fingerprint": self.fingerprint,
            "history": self.history.rows,
            "best_epoch": self.history.best_epoch,
            "waited": self.keeper.waited,
            "best": self.keeper.best,
            "weights": self.keeper.weights,
            "seconds": time.perf_counter() - self.started,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back.

        Raises
        ------
        ValueError
            The state is of other data or settings.
        """
        state = checkpoint["spm"]
        if state["fingerprint"] != self.fingerprint:
            msg = (
                f"the folder {self.config.folder} holds the state of a training with other data or settings. "
                'Give another: `train={"folder": ...}`, or remove it.'
            )
            raise ValueError(msg)
        self.history = History(list(state["history"]), state["best_epoch"])
        self.keeper.waited, self.keeper.best, self.keeper.weights = state["waited"], state["best"], state["weights"]
        self.started = time.perf_counter() - state["seconds"]

    @cached_property
    def fingerprint(self) -> str:
        """Return a hash of the data and settings that decide the numbers."""
        settings = [self.net.config.model_dump_json(), self.config.model_dump_json(exclude={"folder", "devices"})]
        digest = hashlib.sha256("|".join([*settings, str(self.random_state), *self.task.labels]).encode())
        task, genes = self.task, self.net.genes
        given = [getattr(task.conditions, one.name) for one in fields(task.conditions)]
        for value in (*given, task.delta, task.train, task.val, genes.chromosome, genes.locus, genes.features):
            digest.update(value.detach().cpu().numpy().tobytes())
        if task.entry_weight is not None:
            digest.update(task.entry_weight.numpy().tobytes())
        return digest.hexdigest()

    def _effect(self, net: torch.nn.Module, rows: Tensor) -> tuple[Effect, Tensor]:
        """Return what a network says of some rows, and their contexts."""
        conditions = self.task.conditions[rows].to(self.device, self.net.scale.dtype)
        return net(conditions), conditions.context

    def _row_loss(self, rows: Tensor, effect: Effect, context: Tensor) -> Tensor:
        """Return the loss of each row."""
        if self.task.cells is None or self.task.log_rate is None or effect.log_dispersion is None:
            error = (effect.shift - self.task.delta[rows].to(self.device)) / self.net.scale
            return self.task.mean_square(error, rows)
        log_rate = self.task.log_rate.to(self.device)[context] + effect.shift.float()
        log_r = effect.log_dispersion.float()
        return -self.task.cells.mean_log_likelihood(rows, log_rate.clamp(-20, 12), log_r).float()

    def loss(self, rows: Tensor) -> Tensor:
        """Return the weighted mean loss of some rows."""
        weight = self.task.weight[rows].to(self.device)
        return (weight * self._row_loss(rows, *self._effect(self.net, rows))).sum() / weight.sum()

    def training_step(self, rows: Tensor, batch_idx: int) -> Tensor:
        """Take one step; stop at once where the loss is no number."""
        loss = self.loss(rows.cpu())
        if not torch.isfinite(loss):
            names = [self.task.labels[int(row)] for row in rows[:5]]
            msg = (
                f"the training loss became {loss.item()} at step {self.global_step}, in the batch with {names}. "
                'Lower the rate: `train={"lr": 1e-3}`, or train in `train={"precision": "32-true"}`.'
            )
            raise RuntimeError(msg)
        self._epoch_losses.append(float(loss.detach()))
        return loss

    def on_train_epoch_end(self) -> None:
        """Write a row of history at the last step of an epoch that is to be validated."""
        last = self.current_epoch + 1 == self.config.epochs
        if (self.current_epoch + 1) % self.config.every_n_epochs and not last:
            return
        row = {
            "epoch": float(self.current_epoch + 1),
            "step": float(self.global_step),
            "train_loss": sum(self._epoch_losses) / max(1, len(self._epoch_losses)),
            "lr": float(self.trainer.optimizers[0].param_groups[0]["lr"]),
            "seconds": time.perf_counter() - self.started,
        }
        self._epoch_losses = []
        losses, row["train_r2"] = self._validate(self.task.train[:_TRAIN_ROWS_SCORED])
        if len(self.task.val):
            losses, row["val_r2"] = self._validate(self.task.val)
            row["val_loss"] = float(losses.mean())
        self.history.rows.append(row)
        if self.keeper.keep(losses, self.averaged.module):
            self.history.best_epoch = self.current_epoch + 1
        self.trainer.should_stop = self.keeper.waited >= self.config.patience
        self.log_dict({name: value for name, value in row.items() if name not in ("epoch", "step")}, logger=True)

    @torch.no_grad()
    def _validate(self, rows: Tensor) -> tuple[Tensor, float]:
        """Return the loss of each row, and R² of the effects against the training mean of each gene."""
        losses, squares = [], torch.zeros(2, dtype=torch.float64)
        centre = self.task.training_mean()
        for some in rows.split(self.config.batch_conditions):
            effect, context = self._effect(self.averaged.module, some)
            losses.append(self._row_loss(some, effect, context).cpu().double())
            predicted = delta_of(effect, self.task, context)
            truth, known = self.task.delta[some], self.task.known(some)
            errors = [(known * (truth - one)).square().sum() for one in (predicted, centre)]
            squares += torch.stack(errors).double()
        return torch.cat(losses), float(1 - squares[0] / squares[1].clamp_min(1e-12))

    def configure_optimizers(self) -> Any:
        """Return AdamW, whose decay spares what must stay free, under warm-up and cosine."""
        groups = [
            {"params": params, "weight_decay": decay * self.config.weight_decay}
            for decay, params in enumerate(by_decay(self.net))
            if params
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.config.lr, betas=(0.9, 0.98))
        warm = max(1, int(self.config.warmup * self.n_steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, warm, self.n_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Shuffled(Sampler[int]):
    """Rows in an order that depends on the seed and the epoch alone; Lightning tells it the epoch."""

    def __init__(self, n: int, random_state: int) -> None:
        self.n, self.random_state, self.epoch = n, random_state, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(_seed(self.random_state, self.epoch))
        return iter(torch.randperm(self.n, generator=generator).tolist())


def _running(averaged: Tensor, current: Tensor, n: Tensor | int) -> Tensor:
    """Return the average after a step; early ones count for more, so that a short training is not held at its start."""
    return averaged + (current - averaged) * max(1 - _AVERAGED, float(9 / (10 + n)))


def _seed(random_state: int, moment: int) -> int:
    return random_state * 1_000_003 + moment


def train(
    net: Predictor,
    task: Task,
    config: TrainConfig,
    *,
    device: str = "auto",
    random_state: int = 0,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train a predictor in place; it keeps the last weights that validation does not call worse than the best.

    Raises
    ------
    RuntimeError
        The loss became NaN or infinite; the message names the batch and the remedy.
    """
    rows: Any = task.train.tolist()
    loader: DataLoader[int] = DataLoader(
        rows,
        batch_size=config.batch_conditions,
        sampler=_Shuffled(len(rows), random_state),
        collate_fn=torch.tensor,
    )
    module = Training(net, task, config, n_steps=config.epochs * len(loader), random_state=random_state)
    with _quiet(), torch.random.fork_rng():
        torch.random.manual_seed(random_state)
        net.train()
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator=_ACCELERATOR[device],
            devices=config.devices,
            precision=config.precision,
            gradient_clip_val=config.clip,
            callbacks=[*callbacks, *_state_keeper(config)],
            logger=config.logger if config.logger is not None else False,
            enable_checkpointing=config.folder is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        interrupted = _fit(trainer, module, loader, _state_file(config))
    net.cpu().eval()
    if module.keeper.weights is not None:
        net.load_state_dict(module.keeper.weights)
    module.history.stopped = interrupted or ("early" if module.keeper.waited >= config.patience else "epochs")
    return module.history


def _fit(trainer: lightning.Trainer, module: Training, loader: DataLoader[int], state: Path | None) -> str:
    """Fit; return "interrupted" after Ctrl-C, which Lightning turns into an exit, and let a SIGTERM end the process."""
    with _same_sigint():
        try:
            trainer.fit(module, loader, ckpt_path=state, weights_only=True)
        except SystemExit as exit_:
            if isinstance(exit_.__context__, KeyboardInterrupt):
                return "interrupted"
            raise SystemExit(128 + signal.SIGTERM if trainer.received_sigterm else exit_.code) from exit_
    return ""


@contextmanager
def _same_sigint() -> Iterator[None]:
    """Leave Ctrl-C as it was; Lightning ignores it for good after the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _state_keeper(config: TrainConfig) -> list[Callback]:
    """Return what writes the state of the training, where a folder was given."""
    if config.folder is None:
        return []
    return [
        ModelCheckpoint(
            dirpath=config.folder,
            filename=_STATE,
            every_n_epochs=config.every_n_epochs,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
    ]


def _state_file(config: TrainConfig) -> Path | None:
    """Return the state that an earlier call left, if there is one."""
    if config.folder is None:
        return None
    path = Path(config.folder) / f"{_STATE}.ckpt"
    return path if path.is_file() else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's remarks on hardware and loaders while it trains."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for one, level in zip(loggers, levels):
            one.setLevel(level)
