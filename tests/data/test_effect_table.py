"""Tables of effects with gaps and weights."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scperturbmamba as spm
from scperturbmamba.data.effect_table import read_effects
from scperturbmamba.data.responses import read_bundle


def table(seed=0, n=24, n_genes=15, gaps=0.3):
    """Log fold changes of genes, some measured twice, with gaps."""
    rng = np.random.default_rng(seed)
    labels = [f"G{number:02d}" for number in range(n)] + ["G00", "G01"]
    x = rng.normal(size=(len(labels), n_genes)).astype(np.float32)
    x[rng.random(x.shape) < gaps] = np.nan
    obs = pd.DataFrame({"condition": labels}, index=[f"row{number}" for number in range(len(labels))])
    adata = AnnData(x, obs=obs, var=pd.DataFrame(index=[f"R{number}" for number in range(n_genes)]))
    adata.layers["weight"] = rng.uniform(0.1, 3, x.shape).astype(np.float32)
    with pytest.warns(UserWarning):
        spm.pp.perturbation_labels(adata, "condition")
    return adata


def test_rows_of_a_condition_are_averaged_by_weight_and_gaps_are_left_out():
    adata = table()
    found = read_effects(adata, context=None)
    assert list(found.rows["label"]) == sorted(set(adata.obs["condition"]))
    for row, label in enumerate(found.rows["label"]):
        own = (adata.obs["condition"] == label).to_numpy()
        x, w = adata.X[own].astype(float), adata.layers["weight"][own].astype(float)
        for gene in range(adata.n_vars):
            known = np.isfinite(x[:, gene])
            weight = w[known, gene].sum()
            assert found.weight[row, gene] == pytest.approx(weight, rel=1e-5)
            expected = (w[known, gene] * x[known, gene]).sum() / weight if weight else 0
            assert found.delta[row, gene] == pytest.approx(expected, abs=1e-5)
    assert found.n.tolist() == [2, 2] + [1] * 22


def test_a_table_splits_and_reads_without_any_control():
    adata = table()
    spm.pp.split_conditions(adata)
    data = read_bundle(adata, response="effect", split="split")
    assert len(data.conditions) == 24 - 5 and data.is_val.sum() == 2
    assert not data.control.any() and data.contexts == ("all",)
    assert np.array_equal(data.known, data.weight > 0) and not data.known.all()
    test = set(adata.obs.loc[adata.obs["split"] == "test", "condition"])
    assert not test & {one.label for one in data.conditions}


def test_a_table_without_gaps_or_weights_needs_none():
    adata = table(gaps=0)
    del adata.layers["weight"]
    adata = adata[:24].copy()
    spm.pp.split_conditions(adata)
    assert read_bundle(adata, response="effect", split="split").weight is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda adata: adata.X.__setitem__((0, 0), np.inf), "infinite"),
        (lambda adata: adata.layers["weight"].__setitem__((0, 0), -1), "not negative"),
        (lambda adata: adata.layers["weight"].__setitem__((0, 0), np.nan), "not negative"),
    ],
)
def test_numbers_that_cannot_be_are_refused(change, said):
    adata = table()
    spm.pp.split_conditions(adata)
    change(adata)
    with pytest.raises(ValueError, match=said):
        read_bundle(adata[adata.obs["split"].notna()], response="effect", split="split")
        read_effects(adata, context=None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"response": "delta"}, "response"),
        ({"response": "effect", "with_cells": True}, "raw counts"),
        ({"response": "effect", "covariates": ["batch"]}, "covariates"),
    ],
)
def test_what_a_table_cannot_give_is_refused(options, said):
    adata = table()
    spm.pp.split_conditions(adata)
    with pytest.raises(ValueError, match=said):
        read_bundle(adata, split="split", **options)


def test_every_model_learns_from_gaps_and_what_stands_in_a_gap_is_never_read():
    adata = table()
    spm.pp.split_conditions(adata)
    data = read_bundle(adata, response="effect", split="split")
    noise = np.where(data.known, data.delta, 1e3).astype(np.float32)
    from scperturbmamba.models.baselines import TrainingMean

    expected = TrainingMean().fit(data).predict(data.conditions[:2])
    np.testing.assert_allclose(TrainingMean().fit(replace(data, delta=noise)).predict(data.conditions[:2]), expected)
