"""Where a model is good: by size of effect, by cells, by what was seen in training."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from scperturbmamba._judging import REPLICATE
from scperturbmamba.pl._judgement import chosen_metrics, chosen_models, read_table
from scperturbmamba.pl._names import low_is_good, metric_name, model_colour, model_name
from scperturbmamba.pl._style import FAINT, INK, MUTED, dress, fewer_ticks, panels

_TITLES = {"effect size": "By effect size", "cells": "By number of cells", "novelty": "By what was seen"}
_ORDERED = {"effect size": ["weak", "middle", "strong"], "cells": ["few", "middle", "many"]}
_PALEST = 0.3  # share of the colour in the first level
_HIDDEN = "interpolated_duplicate"


def strata(
    adata: AnnData,
    *,
    metric: str = "pearson_delta_centred",
    model: str | Sequence[str] | None = None,
    key: str | None = None,
    figsize: tuple[float, float] | None = None,
) -> list[Axes]:
    """Draw the mean score of every model among weak and strong effects, few and many cells, seen and unseen genes.

    Effect size and cells are cut into thirds of the held-out conditions. The replicate, one half of the cells judged
    by the other, shows how much of a difference is noise.

    Parameters
    ----------
    adata
        A screen after ``tl.benchmark``, or predictions after ``tl.evaluate``.
    metric
        One of the headline metrics.
    model
        One or more models; the default is all, and the replicate.
    key
        Name of the slot; the default is whichever is there.
    figsize
        Inches.

    Returns
    -------
    list of Axes
        One per stratum, a row per model, a point per level, darker the higher the level.

    Raises
    ------
    KeyError
        There are no strata.
    ValueError
        A model or metric is not in them.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.benchmark(adata, ["no_change", "mean"])
    >>> [ax.get_title(loc="left") for ax in spm.pl.strata(adata, metric="mse")]
    ['By effect size', 'By number of cells', 'By what was seen']
    """
    table = read_table(adata, "strata", key)
    chosen_metrics(table, metric)
    models = chosen_models([name for name in dict.fromkeys(table["model"]) if name != _HIDDEN], model)
    some = table[(table["metric"] == metric) & table["model"].isin(models)]
    found = [name for name in _TITLES if (some["stratum"] == name).any()]
    sizes = [some.loc[some["stratum"] == name, "level"].nunique() for name in found]
    n_lines = max(-(-n // _names_per_line(n)) for n in sizes)
    width, height = figsize or (1.4 + 2.5 * len(found), 1.0 + 0.17 * n_lines + 0.2 * len(models))
    axes = list(panels(1, len(found), width=width, height=height, sharex=True, sharey=True).flat)
    better = "lower" if low_is_good(metric) else "higher"
    for ax, stratum in zip(axes, found):
        _draw_stratum(ax, some[some["stratum"] == stratum], models, stratum)
        dress(ax, xlabel=f"{metric_name(metric)}\n{better} is better")
        ax.set_title(_TITLES[stratum], fontsize=9, color=INK, loc="left", fontweight="bold", pad=5 + 12 * n_lines)
    axes[0].set_yticks(range(len(models)), [model_name(name) for name in models])
    axes[0].set_ylim(len(models) - 0.4, -0.6)
    return axes


def _draw_stratum(ax: Axes, table: pd.DataFrame, models: list[str], stratum: str) -> None:
    levels = _levels(table, stratum)
    ax.axvline(0, color=MUTED, lw=0.5, zorder=0)
    if REPLICATE in models:
        ax.axhline(models.index(REPLICATE) - 0.5, color=MUTED, lw=0.5, zorder=0)
    values = table.set_index(["model", "level"])["value"]
    for row, model in enumerate(models):
        here = [values.get((model, level), float("nan")) for level in levels]
        ax.plot(here, [row] * len(levels), color=FAINT, lw=1.6, zorder=1)
        for value, colour in zip(here, _shades(model_colour(model), len(levels))):
            ax.plot(value, row, "o", color=colour, ms=5, mec="white", mew=0.5, zorder=2)
    ax.tick_params(axis="y", length=0)
    fewer_ticks(ax)
    counts = table.groupby("level")["n"].max()
    marks = [
        Line2D([], [], ls="", marker="o", ms=4.5, color=colour, label=f"{level} ({counts[level]})")
        for level, colour in zip(levels, _shades(INK, len(levels)))
    ]
    ax.legend(
        handles=marks, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=_names_per_line(len(levels)), fontsize=7.5,
        frameon=False, handletextpad=0, handlelength=1.2, columnspacing=0.6, borderaxespad=0.2, borderpad=0,
        labelcolor=INK,
    )  # fmt: skip


def _names_per_line(n: int) -> int:
    """Return how many names of levels stand beside each other above a panel: three that are alone, else two."""
    return 3 if n <= 3 else 2


def _levels(table: pd.DataFrame, stratum: str) -> list[str]:
    """Return the levels from low to high; novelty from nothing to everything seen."""
    found = set(table["level"])
    if stratum in _ORDERED:
        return [level for level in _ORDERED[stratum] if level in found]
    return sorted(found, key=_seen_share)


def _seen_share(level: str) -> tuple[float, str]:
    """Return which share of the parts was seen: ``"unseen gene"`` is none, ``"1 of 2 seen"`` one half."""
    words = level.split()
    if words[0].isdigit():
        return int(words[0]) / int(words[2]), level
    return float(words[0] == "seen"), level


def _shades(colour: str, n: int) -> list[tuple[float, float, float]]:
    """Return the colour mixed with white, ever less of it."""
    red, green, blue = to_rgb(colour)
    shares = [1.0] if n < 2 else [_PALEST + (1 - _PALEST) * level / (n - 1) for level in range(n)]
    return [(1 - s + s * red, 1 - s + s * green, 1 - s + s * blue) for s in shares]
