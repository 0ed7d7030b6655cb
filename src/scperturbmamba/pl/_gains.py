"""How much better than each baseline, and how sure: a forest plot."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scperturbmamba._checks import check_choice
from scperturbmamba._judging import ALL_GENES
from scperturbmamba.pl._judgement import chosen_metrics, chosen_models, read_table
from scperturbmamba.pl._names import challengers, metric_name, model_name
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

_BETTER, _WORSE, _OPEN = "better", "worse", "cannot be told apart"
_COLOURS = {_BETTER: ACCENT, _WORSE: WARN, _OPEN: MUTED}


def gains(
    adata: AnnData,
    *,
    model: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    genes: str = ALL_GENES,
    key: str | None = None,
    figsize: tuple[float, float] | None = None,
) -> list[Axes]:
    """Draw the paired gain of a model over each baseline, with its 95 % interval.

    A gain above 0 is better, whichever way the metric points. It is coloured where the interval leaves out 0.

    Parameters
    ----------
    adata
        A screen after ``tl.benchmark``, or predictions after ``tl.evaluate``.
    model
        One or more models; the default is every model that is no baseline and does not leak, or the baselines where
        there is none.
    metrics
        Names of headline metrics; the default is all six.
    genes
        ``"all"`` or ``"without target"``, that is without the genes that are perturbed.
    key
        Name of the slot; the default is whichever is there.
    figsize
        Inches.

    Returns
    -------
    list of Axes
        One per metric, a row per baseline.

    Raises
    ------
    KeyError
        There is no comparison.
    ValueError
        A model or metric is not in it, or nothing was compared.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.benchmark(adata, ["no_change", "mean", "additive"])
    >>> [tick.get_text() for tick in spm.pl.gains(adata)[0].get_yticklabels()]
    ['no change over mean', 'additive over mean']
    """
    table = read_table(adata, "comparison", key)
    if table.empty:
        msg = "expected models that are compared with a baseline; found one model. Run `spm.tl.benchmark` with more."
        raise ValueError(msg)
    check_choice(genes, list(dict.fromkeys(table["genes"])), "genes")
    known = list(dict.fromkeys(table["model"]))
    models = chosen_models(known, model if model is not None else challengers(known) or None)
    found = chosen_metrics(table, metrics)
    some = table[(table["genes"] == genes) & table["model"].isin(models)]
    rows = _rows(some, models)

    n_columns, n_rows = min(METRICS_IN_A_ROW, len(found)), -(-len(found) // METRICS_IN_A_ROW)
    width, height = figsize or (1.7 + 2.5 * n_columns, 0.5 + n_rows * (0.8 + 0.19 * len(rows)))
    grid, axes = metric_panels(len(found), width=width, height=height)
    for ax, metric in zip(axes, found):
        _draw_metric(ax, some[some["metric"] == metric].set_index(["model", "baseline"]), rows)
        dress(ax, title=metric_name(metric), xlabel="gain (right is better)")
    _name_rows(list(grid[:, 0]), rows, alone=len(models) == 1 and len(rows) > 1)
    marks = [Line2D([], [], color=colour, marker="o", ms=4, lw=1.4, label=word) for word, colour in _COLOURS.items()]
    legend_below(axes[0], marks)
    return axes


def _rows(table: pd.DataFrame, models: list[str]) -> list[tuple[str, str | None]]:
    """Return model and baseline of each row; a heading, without a baseline, above each of several models."""
    rows: list[tuple[str, str | None]] = []
    for model in models:
        baselines = list(dict.fromkeys(table.loc[table["model"] == model, "baseline"]))
        if len(models) > 1 and len(baselines) > 1:
            rows.append((model, None))
        rows += [(model, baseline) for baseline in baselines]
    return rows


def _draw_metric(ax: Axes, table: pd.DataFrame, rows: list[tuple[str, str | None]]) -> None:
    ax.axvline(0, color=INK, lw=0.8, zorder=1)
    for height, (model, baseline) in enumerate(rows):
        if baseline is None:
            continue
        ax.axhline(height, color=FAINT, lw=0.6, zorder=0)
        gain, low, high = table.loc[(model, baseline), ["gain", "low", "high"]].to_numpy(float)
        word = _BETTER if low > 0 else _WORSE if high < 0 else _OPEN
        ax.plot([low, high], [height, height], color=_COLOURS[word], lw=1.4, solid_capstyle="butt", zorder=2)
        ax.plot(gain, height, "o", color=_COLOURS[word], ms=4, zorder=3)
    fewer_ticks(ax)


def _name_rows(axes: Sequence[Axes], rows: list[tuple[str, str | None]], *, alone: bool) -> None:
    """Name the baselines; the model as well where no heading does."""
    headed = {model for model, baseline in rows if baseline is None}
    texts = [
        model_name(model)
        if baseline is None
        else model_name(baseline)
        if alone or model in headed
        else f"{model_name(model)} over {model_name(baseline)}"
        for model, baseline in rows
    ]
    for ax in axes:
        ax.set_yticks(range(len(rows)), texts)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        for label, (_, baseline) in zip(ax.get_yticklabels(), rows):
            label.set_fontweight("bold" if baseline is None else "normal")
        if alone:
            ax.set_ylabel(f"{model_name(rows[0][0])} over", fontsize=9, color=INK, fontweight="bold")
