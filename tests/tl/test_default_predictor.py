"""The predictor that is trained by default, from the user's side: terms, intervals, support, words."""

import json

import anndata
import numpy as np
import pytest
from lightning.pytorch import Callback

import scperturbmamba as spm
from scperturbmamba.models.residual import FEWEST
from scperturbmamba.tl import _train

NET = {"mixer": "mlp", "width": 8, "head_width": 8, "state": 4}
TRAIN = {"epochs": 4, "seeds": 2, "folds": 2}


def make(**sizes):
    usual = {"n_genes": 60, "n_singles": 50, "n_doubles": 6, "n_outside": 2, "cells_per_condition": 12}
    adata = spm.datasets.toy(**{**usual, **sizes})
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata, test_size=0.3)
    spm.tl.gene_features(adata, ["sets"], files={"sets": adata.uns["toy"]["gene_sets"]})
    return adata


@pytest.fixture(scope="module")
def shared():
    adata = make()
    spm.tl.train_predictor(adata, net=NET, train=TRAIN)
    return adata


@pytest.fixture
def adata(shared):
    return shared.copy()


def labels(adata, side):
    chosen = (adata.obs["split"] == side) & ~adata.obs["is_control"]
    return sorted(adata.obs.loc[chosen, "perturbation"].astype(str).unique())


def layer(predicted, name):
    return np.asarray(predicted.layers[name], np.float64)


def test_the_terms_add_up_to_the_effect(adata):
    predicted = spm.tl.predict(adata, [*labels(adata, "train"), *labels(adata, "test"), "control"])
    terms = sum(layer(predicted, name) for name in ("mean", "core", "residual"))
    np.testing.assert_allclose(terms, layer(predicted, "delta"), atol=1e-6)
    assert not layer(predicted, "delta")[-1].any()
    seen = predicted.obs["support"].isin(["seen", "parts seen"]).to_numpy()
    assert not layer(predicted, "residual")[seen].any()


def test_seen_effects_are_measured_ones_drawn_to_the_mean(adata):
    singles = [one for one in labels(adata, "train") if "+" not in one]
    measured = spm.pp.pseudobulk(adata[adata.obs["split"] == "train"].copy())
    predicted = spm.tl.predict(adata, singles)
    mean = layer(predicted, "mean")
    truth = np.asarray(measured[singles].layers["delta"], np.float64)
    kept = np.sum((layer(predicted, "delta") - mean) * (truth - mean)) / np.sum(np.square(truth - mean))
    assert 0.2 < kept < 1


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_hold_the_effect_and_widen_with_the_level(adata, level):
    asked = labels(adata, "test")
    predicted = spm.tl.predict(adata, asked, level=level)
    low, high, delta, sd = (layer(predicted, name) for name in ("lower", "upper", "delta", "sd"))
    assert (low < delta).all() and (delta < high).all() and (sd > 0).all()
    multiple = predicted.obsm["interval_multiples"][f"{level:.2f}"].to_numpy()[:, None]
    np.testing.assert_allclose(high - low, 2 * multiple * sd, rtol=1e-4)
    np.testing.assert_allclose(predicted.obs["expected_error"], np.sqrt(np.square(sd).mean(1)), rtol=1e-5)
    wide = spm.tl.predict(adata, asked, level=0.95)
    assert (layer(wide, "upper") > high).all()


def test_intervals_are_calibrated_on_many_held_out_genes():
    """The claim: within three points of nominal at 50, 80 and 90 % over 400 conditions or more."""
    adata = spm.datasets.toy(n_genes=600, n_singles=600, n_doubles=0, n_outside=0, cells_per_condition=15)
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata, test_size=0.7)
    spm.tl.gene_features(adata, ["sets"], files={"sets": adata.uns["toy"]["gene_sets"]})
    spm.tl.train_predictor(adata, preset="fast")
    test = adata[(adata.obs["split"] == "test").to_numpy()]
    means = test.to_df().groupby(test.obs["perturbation"].astype(str)).mean().drop(index="control")
    predicted = spm.tl.predict(adata, list(means.index))
    off = np.abs(means.to_numpy() - layer(predicted, "control") - layer(predicted, "delta"))
    assert len(off) >= 400
    for level in (0.5, 0.8, 0.9):
        multiple = predicted.obsm["interval_multiples"][f"{level:.2f}"].to_numpy()[:, None]
        assert np.mean(off <= multiple * layer(predicted, "sd")) == pytest.approx(level, abs=0.03)


def test_errors_are_of_the_expression_that_was_predicted(adata):
    """From the control of the prediction, not from the mean of the training control cells, which has more noise."""
    predicted = spm.tl.predict(adata, labels(adata, "test"))
    spm.tl.evaluate(predicted, adata)
    test = adata[(adata.obs["split"] == "test").to_numpy()]
    means = test.to_df().groupby(test.obs["perturbation"].astype(str)).mean().loc[predicted.obs["perturbation"]]
    level = layer(predicted, "control") + layer(predicted, "delta")
    np.testing.assert_allclose(predicted.obs["mse"], np.square(level - means.to_numpy()).mean(1), rtol=1e-4)
    cells = adata[((adata.obs["split"] == "train") & adata.obs["is_control"]).to_numpy()]
    assert not np.allclose(layer(predicted, "control")[0], np.asarray(cells.X.mean(0)).ravel(), atol=1e-4)


def test_a_benchmark_says_of_the_core_what_evaluation_says_and_keeps_it(adata, tmp_path):
    adata = adata.copy()
    spm.tl.train_predictor(adata, preset="fast")
    predicted = spm.tl.predict(adata, labels(adata, "test"))
    spm.tl.evaluate(predicted, adata)
    wanted = predicted.uns["evaluation"]["summary"].loc["predicted"]
    for _ in range(2):  # fitted, then read from the folder
        spm.tl.benchmark(adata, ["knowledge"], folder=tmp_path)
        found = adata.uns["benchmark"]["summary"].loc["knowledge"]
        np.testing.assert_allclose(found, wanted[found.index], rtol=1e-4, atol=1e-6)


def test_evaluation_tells_the_coverage(adata):
    predicted = spm.tl.predict(adata, labels(adata, "test"))
    spm.tl.evaluate(predicted, adata)
    table = predicted.uns["evaluation"]["coverage"].set_index("nominal")
    assert (table["observed"].diff().dropna() >= 0).all() and table["n"].iloc[0] == predicted.n_obs
    assert table.loc[0.9, "observed"] == pytest.approx(0.9, abs=0.1)
    assert spm.pl.reliability(predicted).get_title(loc="left") == "intervals"


def test_a_gene_of_which_nothing_is_known_is_predicted_as_the_mean_and_that_is_said(adata):
    with pytest.warns(UserWarning, match="NOWHERE"):
        predicted = spm.tl.predict(adata, ["NOWHERE"])
    row = predicted.obs.iloc[0]
    assert row["support"] == "none" and row["missing_sources"] == "sets" and row["nearest"] == ""
    assert not row["measured"] and not row["seen"] and row["expected_error"] > 0
    np.testing.assert_array_equal(layer(predicted, "delta"), layer(predicted, "mean") + layer(predicted, "residual"))
    assert np.abs(layer(predicted, "core")).max() < 1e-6


def test_the_nearest_training_genes_share_sets_with_a_new_one(adata):
    sets = {name: set(genes) for name, genes in adata.uns["toy"]["gene_sets"].items()}
    trained = {one for label in labels(adata, "train") for one in label.split("+")}
    asked = [one for one in labels(adata, "test") if "+" not in one]
    for label, row in spm.tl.predict(adata, asked).obs.iterrows():
        nearest = row["nearest"].split(", ")
        assert set(filter(None, nearest)) <= trained
        own = [genes for genes in sets.values() if label in genes]
        if own and any(genes & trained for genes in own):
            assert any(nearest[0] in genes for genes in own)


def test_the_report_is_in_words_with_the_baselines_beside_it(adata, capsys, monkeypatch):
    report = adata.uns["predictor"]["report"]
    assert any("expected gain over the mean" in one or "acts as the mean" in one for one in report["words"])
    assert any("per-token MLP residual is o" in one and "on genes left out" in one for one in report["words"])
    assert {"predictor", "mean", "additive", "ridge", "knn"} <= set(report["baselines"].index)
    validation = adata.uns["predictor"]["report"]["baselines"]["mse"]
    assert (validation > 0).all()
    monkeypatch.setattr(spm.settings, "progress", True)
    spm.tl.train_predictor(adata, preset="fast")
    shown = capsys.readouterr().err
    assert report["words"][0].split(":")[0] in shown and "best baselines" in shown


def test_the_core_alone_is_fast_and_the_network_alone_has_no_core(adata):
    spm.tl.train_predictor(adata, preset="fast")
    assert len(spm.get.history(adata)) == 0
    fast = spm.tl.predict(adata, labels(adata, "test"))
    assert not layer(fast, "residual").any() and layer(fast, "core").any()
    spm.tl.train_predictor(adata, net={**NET, "core": None}, train={"epochs": 2})
    bare = spm.tl.predict(adata, labels(adata, "test"))
    assert not layer(bare, "core").any() and not layer(bare, "mean").any()
    np.testing.assert_array_equal(layer(bare, "residual"), layer(bare, "delta"))
    with pytest.raises(ValueError, match="preset"):
        spm.tl.train_predictor(adata, preset="best")


def test_the_counts_head_draws_cells_around_the_core(shared):
    adata = make(cells_per_condition=20)
    spm.tl.train_predictor(adata, net={**NET, "head": "nb"}, train={**TRAIN, "seeds": 1})
    label = next(one for one in labels(adata, "train") if "+" not in one)
    profile = spm.tl.predict(adata, ["control", label])
    cells = spm.tl.predict(adata, ["control", label], n_cells=2000).X.reshape(2, 2000, -1)
    change = np.log(cells[1].mean(0) + 0.01) - np.log(cells[0].mean(0) + 0.01)
    assert np.corrcoef(change, layer(profile, "delta")[1])[0, 1] > 0.9


@pytest.mark.parametrize("name", ["fold 2", "network 2"])
def test_an_interrupted_training_leaves_what_was_judged(adata, monkeypatch, name):
    """Interrupted while it is judged, the gate stays shut; afterwards, the networks that are there speak."""

    class Interrupt(Callback):
        def on_train_epoch_end(self, trainer, module):
            raise KeyboardInterrupt

    monkeypatch.setattr(_train, "named_callbacks", lambda epochs: lambda one: [Interrupt()] if one == name else [])
    spm.tl.train_predictor(adata, net=NET, train=TRAIN)
    words = " ".join(adata.uns["predictor"]["report"]["words"])
    assert ("interrupted before it could be judged" in words) == (name == "fold 2")
    networks = spm.get.history(adata)["network"].unique() if len(spm.get.history(adata)) else []
    assert len(networks) == (0 if name == "fold 2" else 1)
    assert np.isfinite(spm.tl.predict(adata, labels(adata, "test")).X).all()


def test_few_perturbations_make_a_predictor_without_a_network():
    adata = make(n_singles=20, n_doubles=2)
    assert len(labels(adata, "train")) < FEWEST
    spm.tl.train_predictor(adata, net=NET, train=TRAIN)
    assert any("no network was trained" in one for one in adata.uns["predictor"]["report"]["words"])
    assert np.isfinite(spm.tl.predict(adata, "TP53").X).all()


def test_a_predictor_of_three_terms_survives_a_file(adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    for name in ("delta", "core", "residual", "lower"):
        one, other = (spm.tl.predict(each, labels(adata, "test")) for each in (adata, back))
        np.testing.assert_array_equal(one.layers[name], other.layers[name])
    assert json.loads(back.uns["predictor"]["params"]["net"])["core"] == "knowledge"
