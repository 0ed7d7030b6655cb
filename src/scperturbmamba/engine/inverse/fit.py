"""Train a network of the inverse task with Lightning: drawn profiles in, the best weights and a history out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, IterableDataset

from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.keeper import Keeper
from scperturbmamba.engine.lightning_run import ACCELERATOR, adamw, quiet, run, running_average, seed_of
from scperturbmamba.engine.task import History

_TEMPERATURES = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
_SCORED = 512  # profiles looked at in one go


@dataclass(frozen=True)
class Labelled:
    """Profiles and what was perturbed in them.

    Attributes
    ----------
    x
        (b, genes): standardised expression.
    y
        (b, candidates): 1 where a candidate was perturbed; a row of zeros is a control.
    """

    x: Tensor
    y: Tensor


class InverseTraining(lightning.LightningModule):
    """Loss, validation and optimiser of a network of the inverse task."""

    def __init__(
        self, net: nn.Module, val: Labelled | None, config: InverseConfig, positive_weight: Tensor, random_state: int
    ) -> None:
        super().__init__()
        self.net, self.val, self.config, self.random_state = net, val, config, random_state
        self.positive_weight = positive_weight
        self.averaged = AveragedModel(net, avg_fn=running_average).requires_grad_(requires_grad=False).eval()
        self.history, self.keeper = History(), Keeper()
        self.started = time.perf_counter()
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy of each profile, summed over candidates."""
        weight = self.positive_weight.to(logits.device)
        return F.binary_cross_entropy_with_logits(logits, y, pos_weight=weight, reduction="none").sum(1)

    def cooled_losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the losses of validation profiles at the temperature that suits them best.

        How sure an answer is will be calibrated afterwards; here it is to be judged by what it says.
        """
        every = [self.losses(logits / temperature, y) for temperature in _TEMPERATURES]
        return min(every, key=lambda losses: float(losses.mean()))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed what is random in this step."""
        torch.random.manual_seed(seed_of(self.random_state, self.global_step))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Take one step; stop at once where the loss is no number."""
        x, y = batch
        logits = self.net(x)
        losses = self.losses(logits, y)
        loss = losses.mean()
        if not torch.isfinite(loss):
            msg = (
                f"the training loss became {loss.item()} at step {self.global_step}. "
                'Lower the rate: `train={"lr": 1e-3}`, and look for values in `adata.X` that are no numbers.'
            )
            raise RuntimeError(msg)
        self._seen.append((losses.detach(), logits.detach() > 0, y > 0))
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Take the step into the running average of the weights, which is what is validated and kept."""
        self.averaged.update_parameters(self.net)

    def on_train_epoch_end(self) -> None:
        """Write a row of history at the last step of an epoch that is to be validated."""
        last = self.current_epoch + 1 == self.config.epochs
        if (self.current_epoch + 1) % self.config.every_n_epochs and not last:
            return
        losses, called, true = (torch.cat(one).cpu() for one in zip(*self._seen))
        self._seen = []
        row = {
            "epoch": float(self.current_epoch + 1),
            "step": float(self.global_step),
            "train_loss": float(losses.mean()),
            "train_f1": micro_f1(called, true),
            "lr": float(self.trainer.optimizers[0].param_groups[0]["lr"]),
            "seconds": time.perf_counter() - self.started,
        }
        keep = True
        if self.val is not None:
            logits = logits_of(self.averaged.module, self.val.x, self.device)
            losses = self.cooled_losses(logits, self.val.y)
            row |= {"val_loss": float(losses.mean()), "val_f1": micro_f1(logits > 0, self.val.y > 0)}
            keep = self.keeper.keep(losses, self.averaged.module)
        self.history.rows.append(row)
        if keep:
            self.history.best_epoch = self.current_epoch + 1
        self.trainer.should_stop = self.keeper.waited >= self.config.patience

    def configure_optimizers(self) -> Any:
        """Return AdamW under its schedule."""
        config = self.config
        n_steps = config.epochs * math.ceil(config.units / config.batch_size)
        return adamw(self.net, lr=config.lr, weight_decay=config.weight_decay, warmup=config.warmup, n_steps=n_steps)


class _Drawn(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches of profiles that are drawn anew whenever they are asked for, that is for every epoch."""

    def __init__(self, draw: Callable[[int], Labelled], batch_size: int, random_state: int) -> None:
        self.draw, self.batch_size, self.random_state, self.epoch = draw, batch_size, random_state, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        drawn = self.draw(seed_of(self.random_state, self.epoch))
        self.epoch += 1
        yield from zip(drawn.x.split(self.batch_size), drawn.y.split(self.batch_size))


def train_inverse(
    net: nn.Module,
    draw: Callable[[int], Labelled],
    val: Labelled | None,
    config: InverseConfig,
    *,
    positive_weight: Tensor,
    device: str = "auto",
    random_state: int = 0,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train a network in place; it keeps the last weights that validation does not call worse than the best.

    Parameters
    ----------
    net
        Standardised expression (b, genes) to logits (b, candidates).
    draw
        Returns the profiles of an epoch for a seed.
    val
        Profiles that decide when to stop; without them every epoch is trained and the last weights are kept.
    config
        How it is trained.
    positive_weight
        (candidates,): weight of a 1 in the loss.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    random_state
        Seed.
    callbacks
        Lightning callbacks.

    Raises
    ------
    RuntimeError
        The loss became NaN or infinite.
    """
    loader = DataLoader(_Drawn(draw, config.batch_size, random_state), batch_size=None)
    module = InverseTraining(net, val, config, positive_weight, random_state)
    with quiet(), torch.random.fork_rng():
        torch.random.manual_seed(random_state)
        net.train()
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator=ACCELERATOR[device],
            devices=1,
            gradient_clip_val=config.clip,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        interrupted = run(trainer, module, loader)
    net.cpu().eval()
    net.load_state_dict(module.keeper.weights or module.averaged.module.cpu().state_dict())
    module.history.stopped = interrupted or ("early" if module.keeper.waited >= config.patience else "epochs")
    return module.history


@torch.no_grad()
def logits_of(net: nn.Module, x: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Return logits (b, candidates) on the CPU, a part of the profiles at a time."""
    return torch.cat([net(some.to(device)).float().cpu() for some in x.split(_SCORED)])


def micro_f1(called: Tensor, true: Tensor) -> float:
    """Return the F1 of calls over all profiles and candidates together; 0 where nothing is called or true."""
    both = float((called & true).sum())
    return 2 * both / max(1.0, float(called.sum() + true.sum()))
