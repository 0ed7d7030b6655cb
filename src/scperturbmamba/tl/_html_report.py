"""A benchmark as one page that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._judging import is_baseline
from scperturbmamba.tl import _html_figures as figures
from scperturbmamba.tl import _html_scores as tables
from scperturbmamba.tl._html_definitions import METRIC_WORDS, describe_model
from scperturbmamba.tl._html_page import page, section
from scperturbmamba.tl._html_tables import definitions, folded, paragraph
from scperturbmamba.tl._html_versions import versions
from scperturbmamba.tl._html_words import (
    Found,
    collapsed_baselines,
    done,
    judged_models,
    shown,
    strongest_words,
    verdict_lines,
    warnings_of,
)
from scperturbmamba.tl._truth import Truth

_RULE = (
    "A model beats a baseline where the 95 % interval of its paired gain leaves out 0 on an error (MSE or L2) and on a "
    "metric that is blind to what all perturbations share (centred correlation or discrimination), and it is worse on "
    "no headline metric. Intervals are bootstrapped over perturbations; they do not know how many comparisons are made."
)


def html_report(found: Mapping[str, Any], truth: Truth, effects: Mapping[str, NDArray[np.float32]]) -> str:
    """Return a benchmark as one HTML page, figures and all.

    Parameters
    ----------
    found
        ``params`` and the tables of a judgement by name.
    truth
        Measured effects of the first split.
    effects
        Predicted effects of its rows, by model.
    """
    with plt.style.context("default"):
        parts = [
            _verdict(found),
            section("What was done", "", definitions(done(found, truth.delta.shape[1])) + _settings(found)),
            *_scored(found),
            *_drawn(found, truth, effects),
            *_compared(found),
            _closing(found),
        ]
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    title = f"Benchmark of {', '.join(shown(name) for name in judged_models(found)[:3])}"
    return page(title, f"scperturbmamba {version('scperturbmamba')}, {now}", "".join(parts))


def _verdict(found: Found) -> str:
    items = "".join(
        f"<li><strong>{escape(name)}</strong> {escape(words)}</li>\n" for name, words in verdict_lines(found)
    )
    lead = f"<ul>\n{items}</ul>\n" if items else paragraph("One model only: nothing to compare it with.")
    alarms = "".join(paragraph(line, "warn") for line in warnings_of(found))
    verdicts = found["verdicts"]
    models = judged_models(found)
    own = "".join(
        folded(f"{shown(name)} against each baseline", tables.verdict_table(some), is_open=True)
        for name in models
        if len(some := verdicts[(verdicts["model"] == name) & (verdicts["baseline"] != name)])
    )
    rest = verdicts[~verdicts["model"].isin(models) & verdicts["model"].map(is_baseline)]
    others = folded("The baselines against the training mean", tables.verdict_table(rest, with_model=True))
    return (
        f'<section class="lead">\n<h2>Verdict</h2>\n{lead}{paragraph(strongest_words(found))}</section>\n{alarms}'
        f"{paragraph(_RULE, 'small')}{own}{others if len(rest) else ''}"
    )


def _settings(found: Found) -> str:
    params = found[_keys.PARAMS]
    pairs = []
    for name, words in (("net", "Network"), ("train", "Training")):
        chosen = json.loads(params.get(name) or "{}")
        pairs.append((words, ", ".join(f"{key} {value}" for key, value in chosen.items())))
    models = [(shown(name), describe_model(str(name))) for name in dict.fromkeys(found["scores"]["model"])]
    return folded("How each model predicts", definitions(models)) + folded("Settings", definitions(pairs))


def _scored(found: Found) -> list[str]:
    words = (
        "Means over held-out perturbations (averaged over seeds, splits and contexts) with bootstrapped 95 % "
        "intervals; the best is bold. The replicate, one half of the cells judged by the other half, shows what noise "
        "allows."
    )
    everything = "Means over held-out perturbations, all genes. ↓ low is good, ↑ high is good."
    return [
        section("Scores", words, figures.score_figure(found) + tables.headline_table(found["scores"])),
        folded("All metrics", paragraph(everything, "small") + tables.all_metrics_table(found["scores"])),
        section(
            "Gain over each baseline",
            "Paired over perturbations; right of 0 is better, whichever way the metric points.",
            figures.gain_figure(found),
        ),
        section(
            "Condition by condition",
            "Against the training mean and the strongest baseline; the model is better on the shaded side.",
            figures.paired_figures(found),
        ),
    ]


def _drawn(found: Found, truth: Truth, effects: Mapping[str, NDArray[np.float32]]) -> list[str]:
    some = figures.drawn_effects(found, effects)
    if not some or not len(truth.rows):
        return []
    several = len(found[_keys.PARAMS]["splits"]) > 1 or len(found[_keys.PARAMS]["seeds"]) > 1
    first = " First split and seed." if several else ""
    return [
        section(
            "Predicted against measured",
            "Every held-out condition and gene. A slope below 1 is a prediction that is smaller than the measurement; "
            f"noise in the measurement lowers it too.{first}",
            figures.density_figure(truth, some),
        ),
        section(
            "Do predictions differ between perturbations",
            "Correlation between the effects of every two held-out conditions, in the order of the measured. Where "
            f"predictions are alike and the measured effects are not, the model has collapsed to the mean.{first}",
            figures.collapse_figure(truth, some)
            + folded(
                "How alike, in numbers",
                paragraph("Spread: variance of predictions between conditions over that of the measured.", "small")
                + tables.collapse_table(found["collapse"])
                + paragraph(collapsed_baselines(found), "small"),
            ),
        ),
        section(
            "Are predicted effects as large as those measured",
            "Genes of all held-out conditions in bins of their predicted effect: on the line the size is right, "
            f"steeper is predicted too small, flatter too large. Bars are 95 % intervals over conditions.{first}",
            figures.calibration_figure(truth, some),
        ),
    ]


def _compared(found: Found) -> list[str]:
    return [
        section(
            "Where models are good",
            "Thirds of the held-out conditions by the size of the measured effect and by cells, and what training had "
            "seen; in brackets the number of perturbations.",
            figures.strata_figure(found),
        ),
        section(
            "On a scale from the training mean, 0, to a replicate, 1",
            "Everything judged by one half of the cells, the replicate being the other. A dash where the noise of a "
            "half makes the replicate worse than the mean; large numbers where it is hardly better, as is "
            "common for errors.",
            tables.scaled_table(found["scaled"]),
        ),
        section(
            "With and without the perturbed genes",
            "A perturbed gene's own change is known beforehand. Discrimination never counts it, and is left out.",
            tables.target_table(found["scores"]),
        ),
    ]


def _closing(found: Found) -> str:
    metrics = [(label, METRIC_WORDS[name]) for name, label in tables.named_metrics(list(METRIC_WORDS))]
    effect = (
        "Effect size: root mean square over genes. Split-half r: two halves of the cells, corrected for their size."
    )
    return (
        "<section>\n<h2>Details</h2>\n"
        + folded("Held-out conditions", paragraph(effect, "small") + tables.conditions_table(found["conditions"]))
        + folded("How each metric is defined", definitions(metrics))
        + folded("Versions", definitions(versions()))
        + "</section>\n"
    )
