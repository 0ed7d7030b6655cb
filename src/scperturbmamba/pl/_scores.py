"""Scores of models, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scperturbmamba._judging import CEILINGS, REPLICATE
from scperturbmamba.metrics import paired_bootstrap
from scperturbmamba.pl._judgement import chosen_metrics, per_perturbation, read_table
from scperturbmamba.pl._names import low_is_good, metric_name, model_colour, model_name
from scperturbmamba.pl._style import (
    ACCENT,
    FAINT,
    INK,
    METRICS_IN_A_ROW,
    MUTED,
    WARN,
    dress,
    fewer_ticks,
    legend_below,
    metric_panels,
)

_MANY = 60  # points of a row above which they are drawn smaller


def scores(
    adata: AnnData,
    *,
    metrics: str | Sequence[str] | None = None,
    key: str | None = None,
    figsize: tuple[float, float] | None = None,
) -> list[Axes]:
    """Draw the scores of every model: a point per held-out condition, and the mean with its 95 % interval.

    Scores are averaged over seeds, splits and contexts, intervals are bootstrapped over conditions. The dashed line is
    the replicate: one half of the cells of each condition, judged by the other half. The noise of both halves counts
    against it, so that a smooth prediction can have a smaller error.

    Parameters
    ----------
    adata
        A screen after ``tl.benchmark``, or predictions after ``tl.evaluate``.
    metrics
        Names of metrics; the default is the six of the headline.
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
    ValueError
        A metric is unknown.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.benchmark(adata, ["no_change", "mean"])
    >>> [ax.get_title(loc="left") for ax in spm.pl.scores(adata, metrics=["mse", "pearson_delta"])]
    ['MSE', 'Pearson delta']
    """
    table = read_table(adata, "scores", key)
    found = chosen_metrics(table, metrics)
    models = [name for name in dict.fromkeys(table["model"]) if name not in CEILINGS]
    n_columns, n_rows = min(METRICS_IN_A_ROW, len(found)), -(-len(found) // METRICS_IN_A_ROW)
    width, height = figsize or (1.4 + 2.6 * n_columns, 0.4 + n_rows * (0.8 + 0.2 * len(models)))
    _, axes = metric_panels(len(found), width=width, height=height)
    for ax, metric in zip(axes, found):
        _draw_metric(ax, per_perturbation(table, metric), models)
        better = "lower" if low_is_good(metric) else "higher"
        dress(ax, title=metric_name(metric), xlabel=f"{better} is better")
    axes[0].set_yticks(range(len(models)), [model_name(name) for name in models])
    axes[0].set_ylim(len(models) - 0.4, -0.6)
    _draw_key(axes[0], models, with_replicate=REPLICATE in set(table["model"]))
    return axes


def _draw_metric(ax: Axes, table: pd.DataFrame, models: list[str]) -> None:
    jitter = np.random.default_rng(0)
    if REPLICATE in table:
        mean, low, high = paired_bootstrap(table[REPLICATE])
        ax.axvspan(low, high, color=FAINT, alpha=0.7, linewidth=0, zorder=0)
        ax.axvline(mean, color=INK, lw=0.9, ls=(0, (4, 2)), zorder=1)
    ax.axvline(0, color=MUTED, lw=0.5, zorder=0)
    for row, model in enumerate(models):
        values = table[model].dropna().to_numpy()
        size, alpha = (8, 0.45) if len(values) <= _MANY else (4, 0.25)
        height = row + jitter.uniform(-0.24, 0.24, len(values))
        ax.scatter(values, height, s=size, color=model_colour(model), alpha=alpha, linewidths=0, zorder=2)
        if len(values):
            mean, low, high = paired_bootstrap(values)
            ax.plot([low, high], [row, row], color=INK, lw=1.6, solid_capstyle="butt", zorder=3)
            ax.plot(mean, row, "o", color=INK, ms=4, mec="white", mew=0.6, zorder=4)
    fewer_ticks(ax)


def _draw_key(ax: Axes, models: list[str], *, with_replicate: bool) -> None:
    colours = {model_colour(name) for name in models}
    words = {MUTED: "condition, by a baseline", ACCENT: "condition, by a core or network"}
    words |= {WARN: "by a model that leaks"}
    entries = [
        Line2D([], [], ls="", marker="o", ms=3.5, color=colour, label=text)
        for colour, text in words.items()
        if colour in colours
    ]
    entries.append(Line2D([], [], color=INK, marker="o", ms=4, lw=1.6, label="mean, 95 % interval"))
    if with_replicate:
        entries.append(Line2D([], [], color=INK, lw=0.9, ls=(0, (4, 2)), label="replicate (half of the cells)"))
    legend_below(ax, entries)
