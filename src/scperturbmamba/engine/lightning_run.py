"""Run a training with Lightning: quietly, repeatably, and ended as the user ends it."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn

from scperturbmamba.engine.schedule import by_decay, rate

ACCELERATOR = {"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}
_AVERAGED = 0.95  # of the averaged weights that a step leaves as they were


def run(trainer: lightning.Trainer, module: lightning.LightningModule, loader: Any, state: Path | None = None) -> str:
    """Fit; return "interrupted" after Ctrl-C, which Lightning turns into an exit, and let a SIGTERM end the process."""
    with _same_sigint():
        try:
            trainer.fit(module, loader, ckpt_path=state, weights_only=True)
        except SystemExit as exit_:
            if isinstance(exit_.__context__, KeyboardInterrupt):
                return "interrupted"
            raise SystemExit(128 + signal.SIGTERM if trainer.received_sigterm else exit_.code) from exit_
    return ""


def adamw(net: nn.Module, *, lr: float, weight_decay: float, warmup: float, n_steps: int) -> Any:
    """Return AdamW, whose decay spares what must stay free, under warm-up and cosine."""
    groups = [
        {"params": params, "weight_decay": decay * weight_decay} for decay, params in enumerate(by_decay(net)) if params
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))
    warm = max(1, int(warmup * n_steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, warm, n_steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def running_average(averaged: Tensor, current: Tensor, n: Tensor | int) -> Tensor:
    """Return the average after a step; early ones count for more, so that a short training is not held at its start."""
    return averaged + (current - averaged) * max(1 - _AVERAGED, float(9 / (10 + n)))


def seed_of(random_state: int, moment: int) -> int:
    """Return the seed of a step or an epoch."""
    return random_state * 1_000_003 + moment


@contextmanager
def quiet() -> Iterator[None]:
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
