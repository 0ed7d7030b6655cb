"""How a training went."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from scperturbmamba import _keys
from scperturbmamba._checks import check_key
from scperturbmamba.pl._style import ACCENT, INK, MUTED, WARN, dress, legend, note, panels


def loss_curves(adata: AnnData, *, key: str = _keys.PREDICTOR, figsize: tuple[float, float] = (7.2, 2.8)) -> list[Axes]:
    """Draw loss and R² over the epochs of a training, a line per network, and the epoch whose weights were kept.

    Parameters
    ----------
    adata
        A screen with a trained predictor.
    key
        Name of the slot.
    figsize
        Inches.

    Returns
    -------
    list of two Axes
        Loss; R² against the training mean of each gene (0: as good as the mean). With a core, R² is that of core and
        network together on training genes that the core had not seen. Empty where no network was trained.

    Raises
    ------
    KeyError
        There is no predictor.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> net = {"core": None, "width": 8, "head_width": 8, "state": 4}
    >>> spm.tl.train_predictor(adata, net=net, train={"epochs": 2})
    >>> [ax.get_title(loc="left") for ax in spm.pl.loss_curves(adata)]
    ['loss', 'R² against the training mean']
    """
    check_key(adata, "uns", key, made_by="spm.tl.train_predictor")
    record = adata.uns[key]
    return draw_history(record["history"], best_epoch=record.get("report", {}).get("best_epoch"), figsize=figsize)


def draw_history(
    history: pd.DataFrame, *, best_epoch: int | None = None, figsize: tuple[float, float] = (7.2, 2.8)
) -> list[Axes]:
    """Draw a history table: loss at the left, R² at the right."""
    axes = list(panels(1, 2, width=figsize[0], height=figsize[1]).flat)
    runs = [one for _, one in history.groupby("network")] if "network" in history else [history]
    for ax, metric in zip(axes, ("loss", "r2")):
        for side, colour in (("train", MUTED), ("val", ACCENT)):
            name = "training" if side == "train" else "validation"
            for number, run in enumerate(runs):
                if f"{side}_{metric}" in run:
                    shown = name if number == 0 else None
                    values = run[f"{side}_{metric}"]
                    ax.plot(run["epoch"], values, color=colour, lw=1.6, marker=".", ms=3.5, label=shown)
        if best_epoch is not None and best_epoch > 0:
            ax.axvline(best_epoch, color=WARN, lw=0.8, ls=":", zorder=0)
    if best_epoch is not None and best_epoch > 0:
        note(axes[0], best_epoch, 0.99, " kept", color=WARN, transform=axes[0].get_xaxis_transform(), va="top")
    axes[1].axhline(0, color=INK, lw=0.6, zorder=0)
    low = float(np.nanmin(history.filter(regex="_r2$").to_numpy(), initial=0.0))
    axes[1].set_ylim(max(low, -1.0) - 0.05, 1.02)
    dress(axes[0], xlabel="epoch", ylabel="loss", title="loss")
    dress(axes[1], xlabel="epoch", ylabel="R²", title="R² against the training mean")
    if len(history):
        legend(axes[1], "upper left")
    return axes
