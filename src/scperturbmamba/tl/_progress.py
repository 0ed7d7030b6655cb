"""Show how a training goes: a bar anywhere, a live figure in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import lightning.pytorch as lightning
import pandas as pd
from lightning.pytorch.callbacks import Callback
from tqdm.auto import tqdm

from scperturbmamba._settings import settings
from scperturbmamba.engine.fit import Training
from scperturbmamba.engine.task import History

_SHOWN = ("train_loss", "val_loss", "val_r2", "val_f1")  # whichever of them a training has


def training_callbacks(epochs: int, name: str = "network") -> list[Callback]:
    """Return what shows progress here and now; nothing where ``settings.progress`` is False."""
    if not settings.progress:
        return []
    return [ProgressBar(epochs, name), *([LiveCurves()] if _in_notebook() else [])]


def named_callbacks(epochs: int) -> Callable[[str], list[Callback]]:
    """Return what makes the callbacks of each of several networks, by its name."""
    return lambda name: training_callbacks(epochs, name)


class ProgressBar(Callback):
    """One bar over the epochs, with the latest losses."""

    def __init__(self, epochs: int, name: str) -> None:
        self.epochs, self.name = epochs, name
        self.bar: Any = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Open the bar."""
        total = min(self.epochs, trainer.max_epochs or self.epochs)
        self.bar = tqdm(total=total, desc=f"training {self.name}", unit="epoch", mininterval=1)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Move the bar."""
        self.bar.update()
        self.show(module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Show the last losses, which a module writes after its callbacks, and close the bar."""
        self.show(module)
        self.bar.close()

    def show(self, module: lightning.LightningModule) -> None:
        """Write the latest losses beside the bar."""
        history = getattr(module, "history", None)
        if isinstance(history, History) and history.rows:
            latest = history.rows[-1]
            self.bar.set_postfix({name: f"{latest[name]:.3f}" for name in _SHOWN if name in latest})

    def on_exception(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar after an interrupt or an error."""
        if self.bar is not None:
            self.bar.close()


class LiveCurves(Callback):
    """Redraw loss and R² in the notebook at each validation."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.drawn = 0

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Draw, where there is something new."""
        self.draw(module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Draw the last validation."""
        self.draw(module)

    def draw(self, module: lightning.LightningModule) -> None:
        """Draw the history into the one figure of this training."""
        if not isinstance(module, Training) or len(module.history.rows) == self.drawn:
            return
        from IPython.display import display
        from matplotlib import pyplot as plt

        from scperturbmamba.pl._training import draw_history

        self.drawn = len(module.history.rows)
        figure = draw_history(pd.DataFrame(module.history.rows))[0].get_figure(root=True)
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        plt.close(figure)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
