"""The verdict of a benchmark, and what was done, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from scperturbmamba import _keys
from scperturbmamba._judging import ALL_GENES, CEILINGS, is_baseline, leaks
from scperturbmamba.data.responses import EFFECT
from scperturbmamba.pl._names import challengers, metric_name
from scperturbmamba.tl._comparison import FEWEST
from scperturbmamba.tl._html_definitions import describe_split
from scperturbmamba.tl._html_tables import plain_number
from scperturbmamba.tl._metric_table import LOW_IS_GOOD, METRICS

Found = Mapping[str, Any]
_DECISIVE = ("mse", "pearson_delta_centred")
_ALIKE = 0.9  # correlation between predictions that is worth saying first


def shown(name: object) -> str:
    """Return the name of a model as it is written in the page; that of a feature source stays as it is."""
    base, colon, source = str(name).partition(":")
    return base.replace("_", " ") + colon + source


def listed(names: Sequence[str]) -> str:
    """Join names with commas and an "and"."""
    return ", ".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} and {names[-1]}"


def judged_models(found: Found) -> list[str]:
    """Return the models that the page is about: those that are no baseline, or the baselines where there is none."""
    models = [name for name in dict.fromkeys(found["scores"]["model"]) if name not in CEILINGS]
    return challengers(models) or [name for name in models if not leaks(name)]


def verdict_lines(found: Found) -> list[tuple[str, str]]:
    """Return each judged model with what is said of it against every baseline."""
    verdicts = found["verdicts"]
    return [
        (shown(model), verdict_words(own))
        for model in judged_models(found)
        if len(own := verdicts[verdicts["model"] == model])
    ]


def verdict_words(verdicts: pd.DataFrame) -> str:
    """Say in one sentence whom a model beats, whom it does not, and where nothing can be said."""
    against = {
        word: [shown(one) for one in verdicts.loc[verdicts["verdict"].str.startswith(word), "baseline"]]
        for word in ("beats", "mixed", "cannot", "loses", "too few")
    }
    n = len(verdicts)
    parts = []
    if names := against["beats"]:
        parts.append(f"beats {listed(names)} ({len(names)} of {n} baselines)")
    elif not against["too few"]:
        parts.append(f"beats none of {n} {'baseline' if n == 1 else 'baselines'}")
    if names := against["mixed"]:
        parts.append(f"is mixed against {listed(names)}, and so does not beat {'it' if len(names) == 1 else 'them'}")
    if names := against["cannot"]:
        parts.append(f"cannot be told from {listed(names)}")
    if names := against["loses"]:
        parts.append(f"loses to {listed(names)}")
    if names := against["too few"]:
        pairs = int(verdicts["n"].max())
        parts.append(
            f"is compared with {listed(names)} on {pairs} perturbations only: too few to say, {FEWEST} are needed"
        )
    return "; ".join(parts) + "."


def strongest_words(found: Found) -> str:
    """Name the strongest baseline of an error and of a metric blind to what is shared, beside the judged models."""
    summary = mean_scores(found["scores"])
    baselines = [name for name in summary.index if is_baseline(name)]
    others = [name for name in judged_models(found) if not is_baseline(name)]
    parts = []
    for metric in _DECISIVE:
        if not baselines or metric not in summary or summary.loc[baselines, metric].isna().all():
            continue
        best = best_baseline(summary, metric)
        values = "; ".join(f"{shown(name)} {plain_number(summary.loc[name, metric])}" for name in others)
        own = plain_number(summary.loc[best, metric])
        parts.append(f"on {metric_name(metric)} it is {shown(best)} ({own}{'; ' + values if values else ''})")
    return f"The strongest baseline: {listed(parts)}." if parts else ""


def mean_scores(scores: pd.DataFrame, genes: str = ALL_GENES) -> pd.DataFrame:
    """Return models × metrics, averaged to one per perturbation first, and then over perturbations."""
    some = scores[scores["genes"] == genes]
    each = some.groupby(["model", "metric", "perturbation"], sort=False, observed=True)["value"].mean()
    means = each.groupby(level=["model", "metric"], sort=False).mean().unstack("metric")
    order = [name for name in METRICS if name in means]
    return means.reindex(index=list(dict.fromkeys(scores["model"])), columns=order)


def best_baseline(summary: pd.DataFrame, metric: str) -> str:
    """Return the baseline with the best mean score."""
    values = summary.loc[[name for name in summary.index if is_baseline(name)], metric]
    return str(values.idxmin() if metric in LOW_IS_GOOD else values.idxmax())


def warnings_of(found: Found) -> list[str]:
    """Return what a reader must know before the numbers: collapse, leaks, an easy split."""
    lines = [f"{shown(name)}: {_collapse_words(row, found)}" for name, row in _alarms(found, baselines=False)]
    lines += [
        f"{shown(name)} leaks: it predicts a held-out condition from that condition's own cells. Its scores say "
        "nothing of unseen perturbations."
        for name in dict.fromkeys(found["scores"]["model"])
        if leaks(name)
    ]
    for split, scheme in _schemes(found):
        if scheme == "cell":
            lines.append(f"The split {split!r} holds out cells, not perturbations: {describe_split(scheme)}.")
    return lines


def collapsed_baselines(found: Found) -> str:
    """Name the baselines that predict nearly one effect for all."""
    names = [shown(name) for name, _ in _alarms(found, baselines=True)]
    return f"Baselines that predict nearly one effect for all: {listed(names)}." if names else ""


def done(found: Found, n_genes: int) -> list[tuple[str, str]]:
    """Return what was done: models, splits, seeds, and how much was held out."""
    params, rows = found[_keys.PARAMS], found["conditions"]
    models = [str(name) for name in params["models"]]
    networks = [shown(name) for name in models if not is_baseline(name)]
    baselines = [shown(name) for name in models if is_baseline(name)]
    novelty = rows["novelty"].value_counts()
    splits = [f"{split}{': ' if words else ''}{words}" for split, words in _described(found)]
    on_effects = params.get("response") == EFFECT
    pairs = [
        ("Judged", listed(networks) or "no network"),
        ("Baselines", listed(baselines) or "none"),
        ("Split" if len(splits) == 1 else "Splits", ". ".join(splits)),
        ("Seeds of the networks", listed([str(seed) for seed in params["seeds"]])),
        ("Held out", f"{_conditions(rows)}: {listed([f'{n} × {level}' for level, n in novelty.items()])}"),
        ("Genes", f"{n_genes:,}"),
        ("Effect", "as given in X" if on_effects else "mean log-normalised expression minus that of control cells"),
    ]
    if not on_effects:
        cells = rows["n_cells"]
        words = f"{int(cells.sum()):,}; {int(cells.median())} per condition (median), {int(cells.min())} at least"
        pairs.insert(-1, ("Test cells", words))
    if params.get("context"):
        pairs.append(("Context", f"{params['context']} ({rows['context'].nunique()} levels)"))
    pairs.append(("Signal", _signal(rows)))
    return pairs


def _signal(rows: pd.DataFrame) -> str:
    words = f"{plain_number(rows['n_changed_genes'].median(), 0)} changed genes per condition (median)"
    if rows["split_half_r"].notna().any():
        words += f"; two halves of the cells correlate {plain_number(rows['split_half_r'].median(), 2)} (median)"
    return words


def _conditions(rows: pd.DataFrame) -> str:
    n = rows["perturbation"].nunique()
    return f"{n} perturbations" if n == len(rows) else f"{n} perturbations ({len(rows)} with every context and split)"


def _schemes(found: Found) -> list[tuple[str, str]]:
    params = found[_keys.PARAMS]
    splits = [str(one) for one in params["splits"]]
    schemes = [str(one) for one in params.get("schemes", [])] or [""] * len(splits)
    return list(zip(splits, schemes))


def _described(found: Found) -> list[tuple[str, str]]:
    return [(split, describe_split(scheme)) for split, scheme in _schemes(found)]


def _alarms(found: Found, *, baselines: bool) -> list[tuple[str, pd.Series]]:
    table = found["collapse"]
    rows = [(str(row["model"]), row) for _, row in table[table["alarm"].astype(bool)].iterrows()]
    return [(name, row) for name, row in rows if is_baseline(name) == baselines]


def _collapse_words(row: pd.Series, found: Found) -> str:
    n = found["conditions"]["perturbation"].nunique()
    alike, real = (plain_number(row[name], 2) for name in ("similarity", "measured_similarity"))
    if row["similarity"] > _ALIKE:
        alarm = f"predictions for {n} perturbations correlate {alike} with each other (measured {real})"
        return f"{alarm}: the model acts as the mean."
    share = plain_number(100 * row["spread"], 1)
    alarm = f"predictions for {n} perturbations vary {share} % as much as the measured effects"
    return f"{alarm} and correlate {alike} with each other (measured {real}): the model acts as the mean."
