"""The figures of a report, as images inside the page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from io import BytesIO

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scperturbmamba import _keys, pl
from scperturbmamba._judging import is_baseline
from scperturbmamba.pl._calibration import draw_calibration
from scperturbmamba.pl._collapse import draw_collapse
from scperturbmamba.pl._density import draw_density
from scperturbmamba.pl._names import model_colour, model_name
from scperturbmamba.pl._style import panels
from scperturbmamba.tl._html_words import Found, best_baseline, judged_models, mean_scores
from scperturbmamba.tl._truth import Truth

Effects = Mapping[str, NDArray[np.float32]]
_CSS_PIXELS = 96  # per inch
_SHARP = 2  # pixels of the image per pixel of the page
_MOST = 3  # models that are drawn one by one
_PAIRED = ("mse", "pearson_delta_centred")


def score_figure(found: Found) -> str:
    """Draw the headline scores of all models."""
    words = "Scores of every model on the headline metrics, a point per held-out condition"
    return image(pl.scores(_carrier(found))[0], words)


def gain_figure(found: Found) -> str:
    """Draw the paired gains; nothing where there is no pair."""
    if found["comparison"].empty:
        return ""
    return image(pl.gains(_carrier(found))[0], "Paired gain over each baseline with its 95 % interval")


def paired_figures(found: Found) -> str:
    """Draw each judged model against the mean and the strongest baseline, condition by condition."""
    summary, adata = mean_scores(found["scores"]), _carrier(found)
    pages = []
    for model in judged_models(found)[:_MOST]:
        pairs = [pair for pair in _rivals(summary) if pair[0] != model]
        if not pairs:
            continue
        axes = panels(1, len(pairs), width=3.2 * len(pairs), height=3.1).flat
        for ax, (baseline, metric) in zip(axes, pairs):
            pl.paired(adata, baseline, model=model, metric=metric, ax=ax)
        pages.append(image(axes[0], f"{model} against baselines, a point per held-out condition"))
    return "".join(pages)


def strata_figure(found: Found) -> str:
    """Draw where models are good."""
    axes = pl.strata(_carrier(found))
    return image(axes[0], "Centred correlation by effect size, by number of cells and by what was seen in training")


def density_figure(truth: Truth, effects: Effects) -> str:
    """Draw all predicted against all measured effects of some models."""
    axes = panels(1, len(effects), width=2.7 * len(effects), height=2.8).flat
    for ax, (name, rows) in zip(axes, effects.items()):
        draw_density(ax, rows, truth.delta, title=model_name(name))
    return image(axes[0], "Predicted against measured effect, all held-out conditions and genes")


def collapse_figure(truth: Truth, effects: Effects) -> str:
    """Draw how alike the measured effects are, and the predicted."""
    axes = list(panels(1, 1 + len(effects), width=2.5 * (1 + len(effects)) + 0.8, height=2.9).flat)
    named = {model_name(name): rows for name, rows in effects.items()}
    draw_collapse(axes, {"measured": truth.delta, **named}, list(truth.rows["label"]))
    return image(axes[0], "Correlations between the effects of all held-out conditions, measured and predicted")


def calibration_figure(truth: Truth, effects: Effects) -> str:
    """Draw the mean measured effect in bins of the predicted."""
    axes = panels(1, len(effects), width=2.7 * len(effects), height=2.8).flat
    for ax, (name, rows) in zip(axes, effects.items()):
        draw_calibration(ax, rows, truth.delta, title=model_name(name), colour=model_colour(name))
    return image(axes[0], "Mean measured effect in bins of the predicted effect")


def drawn_effects(found: Found, effects: Effects) -> dict[str, NDArray[np.float32]]:
    """Return the effects worth drawing one by one: the judged models, and the baseline of the smallest error."""
    names = judged_models(found)[:_MOST]
    summary = mean_scores(found["scores"])
    if any(is_baseline(name) for name in summary.index):
        names.append(best_baseline(summary, "mse"))
    return {name: effects[name] for name in dict.fromkeys(names) if name in effects}


def image(ax: Axes, words: str) -> str:
    """Return the figure of some axes as an image inside the page, and close it."""
    figure = ax.get_figure(root=True)
    if figure is None:
        return ""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=_SHARP * _CSS_PIXELS, facecolor="white")
    plt.close(figure)
    width = round(float(figure.get_size_inches()[0]) * _CSS_PIXELS)
    data = b64encode(file.getvalue()).decode("ascii")
    source = f"data:image/png;base64,{data}"
    return f'<div class="figure"><img src="{source}" width="{width}" alt="{escape(words)}"></div>\n'


def _rivals(summary: pd.DataFrame) -> list[tuple[str, str]]:
    """Return baselines and metrics to compare on: the mean on the error, the strongest on that and the blind metric."""
    if not any(is_baseline(name) for name in summary.index):
        return []
    mean = [("mean", "mse")] if "mean" in summary.index else []
    return list(dict.fromkeys([*mean, *((best_baseline(summary, metric), metric) for metric in _PAIRED)]))


def _carrier(found: Found) -> AnnData:
    """Return an AnnData that holds nothing but the tables."""
    tables = {name: table for name, table in found.items() if isinstance(table, pd.DataFrame)}
    return AnnData(uns={_keys.BENCHMARK: tables})
