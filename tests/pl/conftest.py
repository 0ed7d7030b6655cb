"""The tables of a benchmark, small and made by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

METRICS = ("mse", "l2", "pearson_delta", "pearson_delta_centred", "direction_top20", "pds_l1", "mae")
LEVELS = {
    "effect size": ["weak", "middle", "strong"],
    "cells": ["few", "middle", "many"],
    "novelty": ["unseen gene", "1 of 2 seen"],
}


@pytest.fixture(autouse=True)
def close():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def judgement(models=("no_change", "mean", "bimamba", "replicate"), n=6, seeds=2):
    """Return scores that are a number of the model plus one of the perturbation, with every other table."""
    base = {model: 0.1 * place for place, model in enumerate((*models, "interpolated_duplicate"))}
    scores = pd.DataFrame(
        [
            (model, genes, f"P{number}", "all", metric, base[model] + 0.01 * number + 0.001 * seed, seed)
            for model in models
            for seed in range(seeds if model == "bimamba" else 1)
            for genes in ("all", "without target")
            for metric in METRICS
            for number in range(n)
        ],
        columns=["model", "genes", "perturbation", "context", "metric", "value", "seed"],
    )
    comparison = pd.DataFrame(
        [
            ("bimamba", baseline, metric, genes, n, gain, gain - 0.1, gain + 0.1)
            for genes in ("all", "without target")
            for metric in METRICS[:-1]
            for baseline, gain in (("no_change", 0.3), ("mean", -0.3 if metric == "mse" else 0.05))
        ],
        columns=["model", "baseline", "metric", "genes", "n", "gain", "low", "high"],
    )
    strata = pd.DataFrame(
        [
            (model, stratum, level, metric, 2, base[model] + 0.01 * place)
            for model in (*models, "interpolated_duplicate")
            for stratum, levels in LEVELS.items()
            for place, level in reversed(list(enumerate(levels)))
            for metric in METRICS[:-1]
        ],
        columns=["model", "stratum", "level", "metric", "n", "value"],
    )
    return {"scores": scores, "comparison": comparison, "strata": strata}


@pytest.fixture
def judged():
    """A screen whose benchmark is known."""
    tables = {name: table.set_index(table.index.astype(str)) for name, table in judgement().items()}
    return AnnData(np.ones((2, 2), np.float32), uns={"benchmark": tables})
