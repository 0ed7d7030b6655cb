"""The tables of scores in a report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from scperturbmamba._judging import ALL_GENES, CEILINGS, HEADLINE, NO_TARGET, leaks
from scperturbmamba.metrics import paired_bootstrap
from scperturbmamba.pl._judgement import per_perturbation
from scperturbmamba.pl._names import metric_name
from scperturbmamba.tl._html_tables import Cell, best_of, digits_for, heading, number, plain_number, table, text, whole
from scperturbmamba.tl._html_words import mean_scores, shown
from scperturbmamba.tl._metric_table import LOW_IS_GOOD

_KINDS = {"beats": "beats", "loses": "loses"}  # the rest is open
_SAME = 1e-12


def verdict_table(verdicts: pd.DataFrame, *, with_model: bool = False) -> str:
    """Return the verdict against each baseline, with the metrics on which a model is better and worse."""
    rows = [
        [
            *([heading(shown(row.model))] if with_model else []),
            heading(shown(row.baseline)),
            text(row.verdict, f"line {_KINDS.get(str(row.verdict).split()[0], 'open')}"),
            text(_metrics(row.better_on), "words"),
            text(_metrics(row.worse_on), "words"),
            whole(row.n),
        ]
        for row in verdicts.itertuples()
    ]
    columns = [*(["model"] if with_model else []), "baseline", "verdict", "better on", "worse on", "n"]
    return table(columns, rows, numbers_from=len(columns) - 1) if rows else ""


def headline_table(scores: pd.DataFrame) -> str:
    """Return models × headline metrics with 95 % intervals."""
    tables = {name: per_perturbation(scores, name) for name in HEADLINE}
    models = list(dict.fromkeys(scores["model"]))
    found = {(model, metric): paired_bootstrap(one[model]) for metric, one in tables.items() for model in models}
    means = pd.DataFrame({metric: [found[model, metric][0] for model in models] for metric in HEADLINE}, index=models)
    beneath = {
        place: [plain_number(end, digits_for(means[place[1]])) for end in one[1:]] for place, one in found.items()
    }
    return _models_by_metrics(means, {place: f"{low} to {high}" for place, (low, high) in beneath.items()})


def scaled_table(scaled: pd.DataFrame) -> str:
    """Return models × headline metrics from the training mean, 0, to the replicate, 1."""
    some = scaled.reindex(columns=[name for name in HEADLINE if name in scaled])
    return _models_by_metrics(some, {}, digits=2, low_is_good=False) if some.size else ""


def all_metrics_table(scores: pd.DataFrame) -> str:
    """Return metrics × models, the best of each row bold."""
    means = mean_scores(scores)
    models = list(means.index)
    counted = [_counts(name) for name in models]
    rows = []
    for metric in means:
        values = means[metric].to_list()
        best, digits = best_of(values, counted, low=metric in LOW_IS_GOOD), digits_for(values)
        cells = [number(one, digits, kind="best" if place in best else "") for place, one in enumerate(values)]
        rows.append([heading(f"{metric_name(str(metric))}{_arrow(str(metric))}"), *cells])
    return table(["metric", *map(shown, models)], rows, kind="dense")


def target_table(scores: pd.DataFrame) -> str:
    """Return the headline scores over all genes beside those without the perturbed genes, where the two differ."""
    every, without = (mean_scores(scores, genes) for genes in (ALL_GENES, NO_TARGET))
    if without.empty:
        return ""
    metrics = [name for name in HEADLINE if name in every and ((every[name] - without[name]).abs() > _SAME).any()]
    digits = {name: digits_for([*every[name], *without[name]]) for name in metrics}
    rows = [
        [
            heading(shown(model), _row_kind(str(model))),
            *(
                number(one.loc[model, name], digits[name], kind=_row_kind(str(model)))
                for name in metrics
                for one in (every, without)
            ),
        ]
        for model in every.index
    ]
    heads = "".join(
        f'<th scope="colgroup" colspan="2" class="group">{escape(metric_name(name))}{_arrow(name)}</th>'
        for name in metrics
    )
    columns = ["model", *(word for _ in metrics for word in ("all", "without"))]
    return table(columns, rows, over=f"<tr><td></td>{heads}</tr>") if metrics else ""


def collapse_table(collapse: pd.DataFrame) -> str:
    """Return how alike the predictions of each model are."""
    rows = [
        [
            heading(shown(row.model)),
            number(row.similarity, 2),
            number(row.measured_similarity, 2),
            number(row.spread, 2),
            text("collapsed" if row.alarm else "", "n loses"),
        ]
        for row in collapse.itertuples()
    ]
    return table(["model", "predictions correlate", "measured", "spread", ""], rows)


def conditions_table(rows: pd.DataFrame) -> str:
    """Return the held-out conditions, those of the largest effect first."""
    several = {name: rows[name].nunique() > 1 for name in ("context", "split") if name in rows}
    words = ["perturbation", *(name for name, one in several.items() if one), "novelty"]
    cells: list[list[Cell]] = [
        [
            heading(row["perturbation"]),
            *(text(row[name]) for name in words[1:]),
            whole(row["n_cells"]),
            number(row["effect_size"], 3),
            whole(row["n_changed_genes"]),
            number(row["split_half_r"], 2),
        ]
        for _, row in rows.sort_values("effect_size", ascending=False).iterrows()
    ]
    columns = [*words, "cells", "effect size", "changed genes", "split-half r"]
    return table(columns, cells, numbers_from=len(words))


def _models_by_metrics(
    means: pd.DataFrame, beneath: dict[tuple[str, str], str], *, digits: int | None = None, low_is_good: bool = True
) -> str:
    models, metrics = list(means.index), list(means)
    counted = [_counts(name) for name in models]
    best = {name: best_of(means[name].to_list(), counted, low=low_is_good and name in LOW_IS_GOOD) for name in metrics}
    rows = [
        [
            heading(shown(model), _row_kind(model)),
            *(
                number(
                    means.loc[model, name],
                    digits_for(means[name].to_list()) if digits is None else digits,
                    kind=f"{_row_kind(model)}{' best' if place in best[name] else ''}".strip(),
                    beneath=beneath.get((model, name), ""),
                )
                for name in metrics
            ),
        ]
        for place, model in enumerate(models)
    ]
    arrows = [f"{metric_name(name)}{_arrow(name) if low_is_good else ''}" for name in metrics]
    return table(["model", *arrows], rows)


def _metrics(words: str) -> str:
    names = [name for name in str(words).split(", ") if name]
    return f"all {len(names)} metrics" if len(names) == len(HEADLINE) else ", ".join(map(metric_name, names))


def _arrow(metric: str) -> str:
    return "\N{NO-BREAK SPACE}↓" if metric in LOW_IS_GOOD else "\N{NO-BREAK SPACE}↑"


def _row_kind(model: str) -> str:
    return "ceiling" if model in CEILINGS else ""


def _counts(model: str) -> bool:
    """Tell whether a model can be the best: the ceilings and a model that leaks cannot."""
    return model not in CEILINGS and not leaks(model)


def named_metrics(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return names of metrics with their direction, as the tables have them, beside their keys."""
    return [(name, f"{metric_name(name)}{_arrow(name)}") for name in names]
