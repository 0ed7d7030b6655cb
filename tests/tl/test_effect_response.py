"""The whole journey on a table of effects: no cells, no control, gaps."""

import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scperturbmamba as spm

NET = {"core": None, "width": 8, "head_width": 8, "state": 4, "layers": 1}


@pytest.fixture(scope="module")
def table():
    """True effects of the toy world, with gaps, and its gene features."""
    world = spm.datasets.toy(n_genes=40, n_singles=30, n_doubles=4, n_outside=2, cells_per_condition=3)
    effects = world.uns["toy"]["effects"]
    x = effects.to_numpy(np.float32).copy()
    x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    adata = AnnData(x, obs=pd.DataFrame({"label": effects.index}, index=effects.index), var=world.var)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spm.pp.perturbation_labels(adata, "label")
    spm.pp.split_conditions(adata)
    files = {"position": world.uns["toy"]["outside"], "sets": world.uns["toy"]["gene_sets"]}
    spm.tl.gene_features(adata, ["position", "sets"], files=files)
    return adata


@pytest.fixture(scope="module")
def trained(table):
    adata = table.copy()
    spm.tl.train_predictor(adata, response="effect", net=NET, train={"epochs": 40})
    return adata


def held_out(adata):
    return list(adata.obs.loc[adata.obs["split"] == "test", "perturbation"])


def test_the_network_learns_effects_and_ignores_gaps(trained):
    report = trained.uns["predictor"]["report"]
    assert report["train_pearson_delta"] > 0.5 and np.isfinite(report["val_r2"])
    filled = trained.copy()
    filled.X = np.where(np.isnan(trained.X), 0, trained.X)
    spm.tl.train_predictor(filled, response="effect", net=NET, train={"epochs": 40})
    one, other = (spm.tl.predict(some, "TP53").layers["delta"] for some in (trained, filled))
    assert not np.allclose(one, other)


def test_a_prediction_is_an_effect_of_either_sign(trained):
    predicted = spm.tl.predict(trained, held_out(trained))
    assert (np.asarray(predicted.X) < 0).any()
    np.testing.assert_array_equal(predicted.X, predicted.layers["delta"])
    assert not predicted.layers["control"].any()


def test_predictions_are_judged_on_what_was_measured(trained):
    predicted = spm.tl.predict(trained, held_out(trained))
    spm.tl.evaluate(predicted, trained)
    truth = trained[trained.obs["perturbation"].isin(held_out(trained))]
    rows = truth.obs_names.get_indexer(predicted.obs_names)
    error = np.nanmean((truth.X[rows] - predicted.layers["delta"]) ** 2, axis=1)
    np.testing.assert_allclose(predicted.obs["mse"], error, rtol=1e-4)
    assert "replicate" not in set(spm.get.scores(predicted)["model"])


def test_a_benchmark_takes_a_table_and_gaps_change_nothing_else(table):
    adata = table.copy()
    spm.tl.benchmark(adata, ["mean", "knn", "ridge", "additive"], response="effect")
    summary = adata.uns["benchmark"]["summary"]
    assert np.isfinite(summary[["mse", "pearson_delta", "pds_l1"]]).all(axis=None)
    assert adata.uns["benchmark"]["params"]["response"] == "effect"
    mean = summary.loc["mean", "mse"]
    train = (adata.obs["split"] == "train").to_numpy()
    test = (adata.obs["split"] == "test").to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        centre = np.nan_to_num(np.nanmean(adata.X[train], axis=0))
    assert mean == pytest.approx(np.nanmean((adata.X[test] - centre) ** 2, axis=1).mean(), rel=1e-4)


def test_counts_are_not_to_be_had_from_effects(table):
    with pytest.raises(ValueError, match="'head': 'nb'"):
        spm.tl.train_predictor(table.copy(), response="effect", net={**NET, "head": "nb"})
