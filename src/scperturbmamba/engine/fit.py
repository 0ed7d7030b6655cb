"""Train a predictor with Lightning: arrays in, the best weights and a history out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
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
from scperturbmamba.engine.lightning_run import ACCELERATOR, adamw, quiet, run, running_average, seed_of
from scperturbmamba.engine.predictor import Predictor
from scperturbmamba.engine.task import History, Task, delta_of

_STATE = "training"
_TRAIN_ROWS_SCORED = 64  # enough to see the fit, cheap beside a pass over the training rows
_DIRECTION = 0.1  # weight of the direction of an effect beside its squares


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
        self.averaged = AveragedModel(net, avg_fn=running_average).requires_grad_(requires_grad=False).eval()
        self.random_state = random_state
        self.history = History()
        self.keeper = Keeper()
        self.started = time.perf_counter()
        self._epoch_losses: list[float] = []

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        """Seed what is random in this step, so that a resumed training repeats what it would have done."""
        torch.random.manual_seed(seed_of(self.random_state, self.global_step))

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
        given = [value for _, value in task.conditions.given()]
        given += [one for one in (task.base, task.centre) if one is not None]
        for value in (*given, task.delta, task.train, task.val, genes.chromosome, genes.locus, genes.features):
            digest.update(value.detach().cpu().numpy().tobytes())
        if task.entry_weight is not None:
            digest.update(task.entry_weight.numpy().tobytes())
        return digest.hexdigest()

    def _effect(self, net: torch.nn.Module, rows: Tensor) -> tuple[Effect, Tensor]:
        """Return what a network and what it is added to say of some rows, and their contexts."""
        conditions = self.task.conditions[rows].to(self.device, self.net.scale.dtype)
        return self.task.on_base(net(conditions), rows), conditions.context

    def _row_loss(self, rows: Tensor, effect: Effect, context: Tensor) -> Tensor:
        """Return the loss of each row."""
        if self.task.cells is None or self.task.log_rate is None or effect.log_dispersion is None:
            truth = self.task.delta[rows].to(self.device)
            error = self.task.mean_square((effect.shift - truth) / self.net.scale, rows)
            return error if self.task.centre is None else error + self._direction_loss(effect.shift, truth)
        log_rate = self.task.log_rate.to(self.device)[context] + effect.shift.float()
        log_r = effect.log_dispersion.float()
        return -self.task.cells.mean_log_likelihood(rows, log_rate.clamp(-20, 12), log_r).float()

    def _direction_loss(self, shift: Tensor, truth: Tensor) -> Tensor:
        """Return 1 - cosine of each row from the mean effect, by its weight."""
        centre = torch.as_tensor(self.task.centre).to(shift.device)
        return _DIRECTION * (1 - torch.cosine_similarity(shift - centre, truth - centre, dim=1))

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
        """Return AdamW under its schedule."""
        config = self.config
        return adamw(
            self.net, lr=config.lr, weight_decay=config.weight_decay, warmup=config.warmup, n_steps=self.n_steps
        )


class _Shuffled(Sampler[int]):
    """Rows in an order that depends on the seed and the epoch alone; Lightning tells it the epoch."""

    def __init__(self, n: int, random_state: int) -> None:
        self.n, self.random_state, self.epoch = n, random_state, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(seed_of(self.random_state, self.epoch))
        return iter(torch.randperm(self.n, generator=generator).tolist())


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
    with quiet(), torch.random.fork_rng():
        torch.random.manual_seed(random_state)
        net.train()
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator=ACCELERATOR[device],
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
        interrupted = run(trainer, module, loader, _state_file(config))
    net.cpu().eval()
    if module.keeper.weights is not None:
        net.load_state_dict(module.keeper.weights)
    module.history.stopped = interrupted or ("early" if module.keeper.waited >= config.patience else "epochs")
    return module.history


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
