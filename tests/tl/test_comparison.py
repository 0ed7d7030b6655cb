"""Who beats whom: on planted gains, on none, and with too few pairs."""

import numpy as np
import pandas as pd
import pytest

from scperturbmamba._judging import HEADLINE
from scperturbmamba.tl._comparison import collapse, compare, pairs_of, stratify, verdicts
from scperturbmamba.tl._metric_table import LOW_IS_GOOD


def scores(n=20, *, gain=None, noise=0.05, seed=0, model="bimamba"):
    """Scores of a model and the mean; ``gain`` by metric is better by so much."""
    rng = np.random.default_rng(seed)
    found = []
    for metric in HEADLINE:
        base = rng.uniform(0.2, 0.6, n)
        sign = -1 if metric in LOW_IS_GOOD else 1
        better = base + sign * ((gain or {}).get(metric, 0) + noise * rng.normal(size=n))
        for name, values in (("mean", base), (model, better)):
            for number, value in enumerate(values):
                found.append((name, "all", f"P{number}", "all", metric, value))
    return pd.DataFrame(found, columns=["model", "genes", "perturbation", "context", "metric", "value"])


def verdict(table, model="bimamba"):
    return verdicts(compare(table, [(model, "mean")])).iloc[0]


def test_a_gain_above_zero_is_better_whichever_way_the_metric_points():
    table = compare(scores(gain=dict.fromkeys(HEADLINE, 0.1), noise=0.001), [("bimamba", "mean")])
    assert (table["low"] > 0.09).all() and (table["high"] < 0.11).all()
    assert (table["n"] == 20).all() and set(table["metric"]) == set(HEADLINE)
    wide = scores(gain=dict.fromkeys(HEADLINE, 0.1), noise=0.001).pivot_table(
        index="metric", columns="model", values="value"
    )
    assert wide.loc["mse", "bimamba"] < wide.loc["mse", "mean"]


@pytest.mark.parametrize(
    ("gain", "word"),
    [
        (dict.fromkeys(HEADLINE, 0.2), "beats"),
        ({"mse": 0.2, "pds_l1": 0.2}, "beats"),
        ({"l2": 0.2, "pearson_delta_centred": 0.2}, "beats"),
        ({"mse": 0.2, "l2": 0.2, "pearson_delta": 0.2}, "mixed: does not beat"),  # nothing of the particular
        ({"pearson_delta_centred": 0.2, "pds_l1": 0.2}, "mixed: does not beat"),  # no error
        ({"mse": 0.2, "pds_l1": 0.2, "l2": -0.2}, "mixed: does not beat"),
        (dict.fromkeys(HEADLINE, -0.2), "loses to"),
    ],
)
def test_a_verdict_needs_an_error_and_a_metric_of_what_is_particular(gain, word):
    assert verdict(scores(gain=gain))["verdict"] == word


def test_without_a_difference_beats_is_said_seldom():
    words = [verdict(scores(seed=seed))["verdict"] for seed in range(40)]
    assert words.count("cannot be told from") >= 18  # six metrics, each with an interval of 95 %
    assert words.count("beats") + words.count("loses to") <= 1


@pytest.mark.parametrize(("n", "word"), [(9, "too few to say"), (10, "beats")])
def test_below_ten_pairs_nothing_is_said(n, word):
    assert verdict(scores(n, gain=dict.fromkeys(HEADLINE, 0.5)))["verdict"] == word


def test_seeds_splits_and_contexts_are_no_further_pairs():
    table = scores(8, gain=dict.fromkeys(HEADLINE, 0.5))
    many = pd.concat([table.assign(seed=seed, context=context) for seed in range(5) for context in "xy"])
    assert verdict(many)["n"] == 8 and verdict(many)["verdict"] == "too few to say"


def test_a_leaking_model_is_not_judged():
    table = scores(gain=dict.fromkeys(HEADLINE, 0.5), model="embedding_ridge:X_pca")
    assert verdict(table, "embedding_ridge:X_pca")["verdict"].startswith("leaks")


def test_networks_meet_every_baseline_and_baselines_the_mean():
    found = pairs_of(["no_change", "mean", "ridge", "bimamba"])
    assert set(found) == {
        ("bimamba", "no_change"), ("bimamba", "mean"), ("bimamba", "ridge"), ("no_change", "mean"), ("ridge", "mean"),
    }  # fmt: skip


def test_strata_are_means_over_their_conditions():
    table = scores(12)
    rows = pd.DataFrame(
        {
            "perturbation": [f"P{number}" for number in range(12)],
            "context": "all",
            "effect_size": np.arange(12.0),
            "n_cells": np.arange(12)[::-1],
            "novelty": ["unseen gene"] * 8 + ["1 of 2 seen"] * 4,
        }
    )
    found = stratify(table, rows).set_index(["model", "stratum", "level", "metric"])
    weak = table.query("model == 'mean' and metric == 'mse' and perturbation in ['P0', 'P1', 'P2', 'P3']")["value"]
    assert found.loc[("mean", "effect size", "weak", "mse"), "value"] == pytest.approx(weak.mean())
    assert found.loc[("mean", "cells", "many", "mse"), "value"] == pytest.approx(weak.mean())
    assert found.loc[("mean", "novelty", "1 of 2 seen", "mse"), "n"] == 4


def test_a_collapsed_model_raises_an_alarm_and_one_that_varies_does_not():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20, 100))
    shared = rng.normal(size=100)
    models = {
        "the same": np.tile(shared, (20, 1)),
        "nearly": shared + 0.05 * rng.normal(size=(20, 100)),
        "nothing": np.zeros((20, 100)),
        "varied": 0.4 * truth + 0.3 * shared,
        "true": truth,
    }
    found = collapse(models, truth).set_index("model")
    assert found["alarm"].to_dict() == {
        "the same": True,
        "nearly": True,
        "nothing": True,
        "varied": False,
        "true": False,
    }
    assert found.loc["true", "spread"] == pytest.approx(1)


def test_alike_effects_that_are_alike_in_truth_are_no_collapse():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=100) + 0.1 * rng.normal(size=(20, 100))
    assert not collapse({"right": truth}, truth)["alarm"].item()
