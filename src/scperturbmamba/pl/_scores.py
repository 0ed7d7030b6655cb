"""Scores of models, side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from scperturbmamba import get
from scperturbmamba.pl._style import ACCENT, INK, MUTED, dress, panels

_NAMES = {
    "mse": "MSE (low is good)",
    "l2": "L2 (low is good)",
    "pearson_delta": "Pearson delta",
    "pearson_delta_centred": "Pearson, centred",
    "direction_top20": "direction, top 20",
}
_BASELINES = ("no_change", "mean", "additive")


def scores(adata: AnnData, *, key: str | None = None, figsize: tuple[float, float] | None = None) -> list[Axes]:
    """Draw every metric for every model, a point per held-out condition and a bar at the mean.

    Parameters
    ----------
    adata
        A screen after ``tl.benchmark``, or predictions after ``tl.evaluate``.
    key
        Name of the slot; the default is whichever is there.
    figsize
        Inches.

    Returns
    -------
    list of Axes
        One per metric.

    Raises
    ------
    KeyError
        There are no scores.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.benchmark(adata, ["no_change", "mean"])
    >>> len(spm.pl.scores(adata))
    5
    """
    table = get.scores(adata, key=key)
    found = [metric for metric in _NAMES if (table["metric"] == metric).any()]
    models = list(dict.fromkeys(table["model"]))
    width, height = figsize or (1.7 * len(found), 0.9 + 0.32 * len(models))
    axes = list(panels(1, len(found), width=width, height=height, sharey=True).flat)
    for ax, metric in zip(axes, found):
        _draw_metric(ax, table[table["metric"] == metric], models)
        dress(ax, title=_NAMES[metric])
    axes[0].set_yticks(range(len(models)), [name.replace("_", " ") for name in models])
    axes[0].set_ylim(len(models) - 0.5, -0.5)
    return axes


def _draw_metric(ax: Axes, table: pd.DataFrame, models: list[str]) -> None:
    jitter = np.random.default_rng(0)
    for row, model in enumerate(models):
        values = table.loc[table["model"] == model, "value"].dropna().to_numpy()
        colour = MUTED if model in _BASELINES else ACCENT
        ax.scatter(values, row + jitter.uniform(-0.22, 0.22, len(values)), s=9, color=colour, alpha=0.55, linewidths=0)
        if len(values):
            ax.plot([values.mean()] * 2, [row - 0.34, row + 0.34], color=INK, lw=2, solid_capstyle="butt")
    ax.axvline(0, color=MUTED, lw=0.5, zorder=0)
