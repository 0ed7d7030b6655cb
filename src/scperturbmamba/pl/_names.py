"""What models and metrics are called in plots, and how each model is coloured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from scperturbmamba._judging import CEILINGS, is_baseline, leaks
from scperturbmamba.pl._style import ACCENT, INK, MUTED, WARN

_TOPS: Final = (20, 50, 100, 200)
_METRICS: Final = {
    "mse": "MSE",
    "mae": "MAE",
    "l2": "L2",
    "wmse": "Weighted MSE",
    "pearson_delta": "Pearson delta",
    "spearman_delta": "Spearman delta",
    "cosine_delta": "Cosine delta",
    "r2_delta": "R² delta",
    "pearson_delta_centred": "Centred Pearson delta",
    "spearman_delta_centred": "Centred Spearman delta",
    "r2_delta_centred": "Centred R² delta",
    "weighted_r2_centred": "Centred weighted R²",
    "pds_l1": "Discrimination (L1)",
    "pds_l2": "Discrimination (L2)",
    "pds_cosine": "Discrimination (cosine)",
    "centroid_accuracy": "Centroid accuracy",
    "rank": "Rank",
    **{f"mse_top{n}": f"MSE of top {n}" for n in _TOPS},
    **{f"pearson_delta_top{n}": f"Pearson delta of top {n}" for n in _TOPS},
    **{f"direction_top{n}": f"Direction of top {n}" for n in _TOPS},
    "de_overlap": "Overlap of changed genes",
    "de_precision_50": "Precision of 50 genes",
}


def metric_name(metric: str) -> str:
    """Return the name of a metric for a title."""
    return _METRICS.get(metric, metric.replace("_", " "))


def model_name(model: str) -> str:
    """Return the name of a model for a label; that of a feature source stays as it is."""
    base, colon, source = model.partition(":")
    return plain(base.replace("_", " ") + colon + source)


def plain(text: str) -> str:
    """Return a text whose dollar signs matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def low_is_good(metric: str) -> bool:
    """Tell whether a metric is an error or a rank."""
    return metric.split("_top")[0] in ("mse", "mae", "l2", "wmse", "rank")


def model_colour(model: str) -> str:
    """Return the colour of a model: networks stand out, baselines do not."""
    if model in CEILINGS:
        return INK
    if leaks(model):
        return WARN
    return MUTED if is_baseline(model) else ACCENT


def challengers(models: Iterable[str]) -> list[str]:
    """Return the models that are no baseline, no ceiling, and do not leak, in the order of appearance."""
    return [name for name in dict.fromkeys(models) if not (is_baseline(name) or leaks(name) or name in CEILINGS)]
