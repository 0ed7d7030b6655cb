"""Model against baseline, pair by pair, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scperturbmamba import metrics
from scperturbmamba._judging import ALL_GENES, HEADLINE, LEAKING, is_baseline
from scperturbmamba.tl._metric_table import LOW_IS_GOOD

ERRORS: Final = ("mse", "l2")
PARTICULAR: Final = ("pearson_delta_centred", "pds_l1")
FEWEST: Final = 10  # pairs below which nothing is said
_FEW = "too few to say"
_LEAKS = "leaks: reads the cells it is judged by, not judged against"
_COLLAPSED, _ALIKE, _EXCESS = 0.02, 0.95, 0.2


def compare(scores: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Return the mean gain of each model over its baseline on the headline metrics, with its 95 % interval.

    Scores are first averaged over seeds, splits and contexts to one per perturbation; a gain above 0 is better,
    whichever way the metric points. Perturbations are drawn with replacement.
    """
    some = scores[scores["metric"].isin(HEADLINE)]
    unit = some.groupby(["genes", "metric", "model", "perturbation"], sort=False)["value"].mean().unstack("model")
    found = []
    for (genes, metric), table in unit.groupby(level=["genes", "metric"], sort=False):
        for model, baseline in pairs:
            sign = -1 if metric in LOW_IS_GOOD else 1
            gain = sign * (table[model] - table[baseline]).to_numpy()
            found.append(
                (model, baseline, metric, genes, int(np.isfinite(gain).sum()), *metrics.paired_bootstrap(gain))
            )
    names = ["model", "baseline", "metric", "genes", "n", "gain", "low", "high"]
    result = pd.DataFrame(found, columns=names)
    result.index = result.index.astype(str)
    return result


def pairs_of(models: Sequence[str]) -> list[tuple[str, str]]:
    """Return who is compared with whom: every model with the mean, what is no baseline with every baseline."""
    baselines = [name for name in models if is_baseline(name)]
    found = [(model, one) for model in models if not is_baseline(model) for one in baselines]
    return found + [(one, "mean") for one in baselines if "mean" in baselines and one != "mean"]


def verdicts(comparison: pd.DataFrame) -> pd.DataFrame:
    """Say in words where a model beats a baseline.

    It does where the interval of the paired gain leaves out 0 on an error (MSE or L2) and on a metric that is blind to
    what all perturbations share (centred correlation or discrimination). Below ten pairs there is too little to say.
    """
    some = comparison[comparison["genes"] == ALL_GENES]
    found = []
    for (model, baseline), table in some.groupby(["model", "baseline"], sort=False):
        by = table.set_index("metric")
        better = [name for name in HEADLINE if name in by.index and by.loc[name, "low"] > 0]
        worse = [name for name in HEADLINE if name in by.index and by.loc[name, "high"] < 0]
        n = int(by["n"].max())
        word = _LEAKS if model.split(":")[0] == LEAKING else _word(better, worse, n)
        found.append((model, baseline, n, word, ", ".join(better), ", ".join(worse)))
    table = pd.DataFrame(found, columns=["model", "baseline", "n", "verdict", "better_on", "worse_on"])
    table.index = table.index.astype(str)
    return table


def _word(better: Sequence[str], worse: Sequence[str], n: int) -> str:
    if n < FEWEST:
        return _FEW
    sides = [set(better), set(worse)]
    beats, loses = (bool(side & set(ERRORS)) and bool(side & set(PARTICULAR)) for side in sides)
    if beats and not worse:
        return "beats"
    if loses and not better:
        return "loses to"
    if not better and not worse:
        return "cannot be told from"
    return "mixed: does not beat"


def in_words(table: pd.DataFrame, model: str) -> str:
    """Return what :func:`verdicts` says of a model, such as ``bimamba beats mean, knn; cannot be told from ridge``."""
    some = table[table["model"] == model]
    groups = {word: ", ".join(group["baseline"]) for word, group in some.groupby("verdict", sort=False)}
    verbs = {_FEW: "has too few pairs to compare with"}
    said = [f"{verbs.get(word, word)} {names}" for word, names in groups.items()]
    return f"{model} {'; '.join(said)} ({some['n'].max()} perturbations)"


def stratify(scores: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of every headline metric by thirds of effect size and of cells, and by what was seen.

    ``rows`` has ``perturbation``, ``context``, ``effect_size``, ``n_cells``, ``novelty``, once per held-out condition,
    and ``split`` where there are several.
    """
    keys = [name for name in ("perturbation", "context", "split") if name in rows and name in scores]
    levels = rows.drop_duplicates(keys).assign(
        effect_size=_thirds(rows["effect_size"], ("weak", "middle", "strong")),
        n_cells=_thirds(rows["n_cells"], ("few", "middle", "many")),
    )
    some = scores[(scores["genes"] == ALL_GENES) & scores["metric"].isin(HEADLINE)]
    joined = some.merge(levels, on=keys)
    parts = []
    for stratum, title in (("effect_size", "effect size"), ("n_cells", "cells"), ("novelty", "novelty")):
        groups = joined.groupby(["model", stratum, "metric"], sort=False, observed=True)
        table = groups.agg(value=("value", "mean"), n=("perturbation", "nunique")).reset_index()
        parts.append(table.rename(columns={stratum: "level"}).assign(stratum=title))
    table = pd.concat(parts, ignore_index=True)[["model", "stratum", "level", "metric", "n", "value"]]
    table.index = table.index.astype(str)
    return table.assign(level=table["level"].astype(str))


def _thirds(values: pd.Series, names: tuple[str, str, str]) -> pd.Series:
    place = values.rank(method="first", pct=True)
    return pd.cut(place, [0, 1 / 3, 2 / 3, 1], labels=list(names)).astype(str)


def collapse(models: Mapping[str, NDArray[np.float32]], truth: NDArray[np.float32]) -> pd.DataFrame:
    """Return how alike the predictions of a model are to each other, and an alarm where they are nearly one.

    ``similarity`` is the mean correlation between the predictions of two perturbations, ``spread`` their variance
    between perturbations over that of the measured effects.
    """
    real = metrics.similarity(truth)
    found = []
    for name, rows in models.items():
        alike, spread = metrics.similarity(rows), metrics.spread(truth, rows)
        alarm = spread < _COLLAPSED or (alike > _ALIKE and alike - real > _EXCESS)
        found.append((name, alike, real, spread, bool(alarm)))
    table = pd.DataFrame(found, columns=["model", "similarity", "measured_similarity", "spread", "alarm"])
    table.index = table.index.astype(str)
    return table
