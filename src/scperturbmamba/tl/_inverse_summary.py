"""Tables of how right models of the inverse task are, with intervals over conditions and the level of chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scperturbmamba import metrics
from scperturbmamba.tl._inverse_judged import Judged

EVERY: Final = "every"  # number of cells
_DRAWS = 500
Picked = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def scores_table(judged: Judged, named: Mapping[str, str]) -> pd.DataFrame:
    """Return a row per condition, number of cells and metric: the mean over units, and the level of chance."""
    keys = judged.rows[["condition", "seen", "size"]]
    parts = []
    columns = {**judged.values, "correct": judged.rows["correct"].to_numpy(np.float64)}
    columns["called_control"] = (judged.rows["inferred"] == "control").to_numpy(np.float64)
    for name, values in columns.items():
        own = keys.assign(value=values, chance=judged.chance.get(name, np.full(len(keys), np.nan)), n_units=1)
        how = {"value": "mean", "chance": "mean", "n_units": "sum"}
        means = own[np.isfinite(values)].groupby(["condition", "seen", "size"], sort=False).agg(how)
        parts.append(means.reset_index().assign(metric=name))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(**named, n_candidates=judged.n_candidates)


def pooled_table(judged: Judged, named: Mapping[str, str], rng: np.random.Generator) -> pd.DataFrame:
    """Return what has no number per condition: F1 of calls and calibration error, with intervals.

    They are over conditions, and over candidates for the macro F1, which is their mean.
    """
    statistics: dict[str, Callable[[NDArray[np.int64]], float]] = {
        "f1_micro": lambda some: metrics.f1(judged.truth[some], judged.called[some]),
        "f1_macro": lambda some: metrics.f1(judged.truth[some], judged.called[some], average="macro"),
        "calibration_error": lambda some: metrics.expected_calibration_error(
            judged.rows["confidence"].to_numpy()[some], judged.rows["correct"].to_numpy()[some]
        ),
    }
    rows = []
    for seen, size, some in _groups(judged):
        units = [group.index.to_numpy() for _, group in some.groupby("condition", sort=True)]
        parts = float(judged.truth[some.index].sum(1).max(initial=1))
        for name, statistic in statistics.items():
            value = statistic(some.index.to_numpy())
            low, high = _bootstrap(units, statistic, rng)
            if name == "f1_macro":
                each = metrics.f1_per_candidate(judged.truth[some.index], judged.called[some.index])
                _, low, high = metrics.paired_bootstrap(each, n_draws=_DRAWS)
            chance = parts / judged.truth.shape[1] if name.startswith("f1") else np.nan
            row = {"seen": seen, "size": size, "metric": name, "value": value, "low": low, "high": high}
            rows.append({**row, "chance": chance, "n_conditions": len(units)})
    return pd.DataFrame(rows).assign(**named, n_candidates=judged.n_candidates)


def mean_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over conditions of each metric, with its interval; folds of one condition are averaged first."""
    keys = ["model", "mask", "seen", "size", "metric"]
    each = scores.groupby([*keys, "condition"], sort=False)[["value", "chance", "n_candidates"]].mean().reset_index()
    rows = []
    for key, some in each.groupby(keys, sort=False):
        value, low, high = metrics.paired_bootstrap(some["value"], n_draws=_DRAWS)
        found = {"value": value, "low": low, "high": high, "chance": some["chance"].mean()}
        found |= {"n_candidates": some["n_candidates"].max(), "n_conditions": len(some)}
        rows.append({**dict(zip(keys, key)), **found})
    return pd.DataFrame(rows)


def _groups(judged: Judged) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield units by what was seen and by their cells, and of every number of cells together.

    Control cells count with the singles, whose answers they share; alone they are no group.
    """
    seen = judged.rows["seen"].replace({"control": "single"})
    for one in seen.unique():
        own = judged.rows[seen == one]
        for size, some in [*own.groupby("size", sort=False), (EVERY, own)]:
            if (some["seen"] != "control").any():
                yield str(one), str(size), some


def _bootstrap(
    units: list[NDArray[np.int64]], statistic: Callable[[NDArray[np.int64]], float], rng: np.random.Generator
) -> tuple[float, float]:
    """Return the 95 % interval of a statistic over conditions drawn with replacement."""
    if len(units) < 2:
        return float("nan"), float("nan")
    drawn = [
        statistic(np.concatenate([units[one] for one in rng.integers(len(units), size=len(units))]))
        for _ in range(_DRAWS // 5)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
