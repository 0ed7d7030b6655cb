"""What could be reached: the experiment repeated, scored as a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from scperturbmamba import metrics
from scperturbmamba._judging import INTERPOLATED, REPLICATE
from scperturbmamba.tl._metric_table import LOW_IS_GOOD, Reference
from scperturbmamba.tl._scoring import score_models
from scperturbmamba.tl._truth import Truth

NO_SCALE: Final = pd.DataFrame(columns=["model", "genes", "metric", "value"])
_BASE = "the mean of the training effects"


def ceiling_rows(
    replicate: Truth, measured: NDArray[np.float32], centre: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return what the other half of the cells measured, and the same drawn to the mean where it is noise.

    The interpolated duplicate is α·duplicate + (1 − α)·mean, α = 1 − adjusted p of each gene (Miller et al., 2025).
    """
    p = np.where(np.isfinite(replicate.t), 2 * stats.norm.sf(np.abs(replicate.t)), 1.0)
    alpha = 1 - stats.false_discovery_control(p, axis=1)
    drawn = alpha * measured + (1 - alpha) * centre
    return {REPLICATE: measured, INTERPOLATED: drawn.astype(np.float32)}


def score_ceiling(
    models: Mapping[str, NDArray[np.float32]],
    halves: tuple[Truth, Truth],
    reference: Reference,
    expression: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return tidy scores of the ceilings, and every model on the scale from the training mean, 0, to the replicate, 1.

    Everything is compared with one half of the cells, the replicate being the other; the scale is of averages over
    conditions: ``model``, ``genes``, ``metric``, ``value``, NaN where the noise of one half makes the replicate worse
    than the mean. Both tables are empty where no condition has two cells in each half.
    """
    truth, replicate = halves
    enough = np.flatnonzero((truth.n_cells >= 2) & (replicate.n_cells >= 2))
    if not len(enough):
        return pd.DataFrame(), NO_SCALE
    truth, replicate, reference = truth.take(enough), replicate.take(enough), reference.take(enough)
    ceilings = ceiling_rows(replicate, replicate.delta, reference.centre)
    level = {name: one[enough] for name, one in expression.items()}
    level |= ceiling_rows(replicate, replicate.mean, reference.control + reference.centre)
    rows = {name: one[enough] for name, one in models.items()}
    found, _ = score_models({**rows, _BASE: reference.centre, **ceilings}, truth, reference, level)
    average = found.groupby(["model", "genes", "metric"], sort=False)["value"].mean().unstack("model")
    low_is_good = average.index.get_level_values("metric").isin(LOW_IS_GOOD)
    better = np.where(low_is_good, -1, 1) * (average[REPLICATE] - average[_BASE]) > 0
    scaled = average.apply(lambda one: metrics.scaled(one, average[_BASE], average[REPLICATE])).where(better)
    scale = scaled.drop(columns=_BASE).stack(future_stack=True).rename("value").reset_index()
    return found[found["model"].isin(ceilings)], scale[["model", "genes", "metric", "value"]]


def split_half_correlation(halves: tuple[Truth, Truth]) -> NDArray[np.float64]:
    """Return the correlation of each condition's two halves, corrected for their size (Spearman and Brown)."""
    r = metrics.pearson(halves[0].delta, halves[1].delta)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(r > -1, 2 * r / (1 + r), np.nan)
