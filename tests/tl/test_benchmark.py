import json
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scperturbmamba as spm

NET = {"width": 8, "head_width": 8, "state": 4}
TRAIN = {"epochs": 2, "every_n_epochs": 1}
PLAIN = ["no_change", "mean", "matching_mean", "additive", "scaled_additive", "bilinear"]
BASELINES = [*PLAIN, "nearest", "knn", "ridge", "knn_shuffled", "ridge_shuffled"]
CEILINGS = ["replicate", "interpolated_duplicate"]
TABLES = ["collapse", "comparison", "conditions", "scaled", "scores", "strata", "summary", "verdicts"]


def test_every_model_is_scored_on_every_test_condition(screen, everything_in, conditions_of, tmp_path):
    before = everything_in(screen)
    assert spm.tl.benchmark(screen, net=NET, train=TRAIN, seeds=np.arange(2)) is None
    held_out = conditions_of(screen, "test")
    found = screen.uns["benchmark"]
    assert sorted(found) == sorted(["params", *TABLES])
    assert set(found["summary"].index) == {*BASELINES, "predictor", *CEILINGS}
    assert list(found["summary"].index)[: len(BASELINES)] == BASELINES
    scores = spm.get.scores(screen)
    n_metrics = found["summary"].shape[1]
    assert len(scores) == len(held_out) * n_metrics * 2 * (len(BASELINES) + 2 + len(CEILINGS))
    assert sorted(set(scores["perturbation"])) == held_out
    seeds = scores.groupby("model")["seed"].unique().map(sorted).to_dict()
    assert seeds == {**dict.fromkeys([*BASELINES, *CEILINGS], [0]), "predictor": [0, 1]}
    means = scores[scores["genes"] == "all"].groupby(["model", "metric"])["value"].mean()
    for model in found["summary"].index:
        np.testing.assert_allclose(found["summary"].loc[model], means[model][found["summary"].columns])
    assert found["params"]["seeds"] == ["0", "1"] and found["params"]["n_test"] == len(held_out)
    assert json.loads(found["params"]["net"])["width"] == 8
    screen.write_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(spm.get.scores(ad.read_h5ad(tmp_path / "a.h5ad")), scores, check_dtype=False)
    del screen.uns["benchmark"]
    assert everything_in(screen) == before


def test_the_benchmark_says_of_the_baselines_and_the_network_what_evaluate_says(trained, conditions_of):
    predicted = spm.tl.predict(trained, conditions_of(trained, "test"))
    spm.tl.evaluate(predicted, trained)
    spm.tl.benchmark(trained, [*BASELINES, "bimamba"], net=NET, train={"epochs": 3, "every_n_epochs": 1})
    ours, theirs = trained.uns["benchmark"], predicted.uns["evaluation"]
    for name in ("summary", "scaled"):
        expected = theirs[name].rename(index={"predicted": "bimamba"})
        np.testing.assert_allclose(ours[name].loc[expected.index, expected.columns], expected, atol=1e-3, rtol=1e-3)


def test_the_lstm_is_a_model_of_its_own_and_heads_and_contexts_are_taken(screen):
    options = {"net": {**NET, "head": "nb"}, "train": TRAIN, "context": "cell_line", "key_added": "mine"}
    spm.tl.benchmark(screen, ["bimamba", "lstm", "mean"], **options)
    summary = screen.uns["mine"]["summary"]
    assert list(summary.index) == ["bimamba", "lstm", "mean", *CEILINGS]
    assert not np.allclose(summary.loc["bimamba"], summary.loc["lstm"])
    assert set(spm.get.scores(screen, key="mine")["context"]) == {"line_A", "line_B"}


def test_baselines_alone_need_no_features(screen):
    for name in ("identity", "position", "sets"):
        del screen.varm[f"gene_{name}"], screen.uns[f"gene_{name}"]
    spm.tl.benchmark(screen, "additive")
    assert list(screen.uns["benchmark"]["summary"].index) == ["additive", *CEILINGS]
    spm.tl.benchmark(screen, None, train={"epochs": 1}, net=NET)
    assert list(screen.uns["benchmark"]["summary"].index) == [*PLAIN, "predictor", *CEILINGS]


def test_test_cells_that_change_change_the_scores_and_not_the_models(screen):
    spm.tl.benchmark(screen, ["mean", "additive"])
    before = spm.get.scores(screen).set_index(["model", "genes", "perturbation", "metric"])["value"]
    screen.X = screen.X.toarray()
    screen.X[(screen.obs["split"] == "train").to_numpy()] *= 1.1
    spm.tl.benchmark(screen, ["mean", "additive"])
    after = spm.get.scores(screen).set_index(["model", "genes", "perturbation", "metric"])["value"]
    assert not np.allclose(before, after)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"models": ["mean", "gears"]}, ValueError, r"'bimamba', 'lstm'.*'gears'"),
        ({"models": []}, ValueError, "models"),
        ({"models": ["bimamba"], "seeds": []}, ValueError, "seeds"),
        ({"net": {"wdith": 3}}, ValueError, "wdith"),
        ({"splits": "other"}, KeyError, "split_conditions"),
        ({"splits": []}, ValueError, "splits"),
        ({"models": "mean:sets"}, ValueError, "take a source"),
        ({"models": "ridge:string"}, KeyError, "'string'.*gene_features"),
    ],
)
def test_bad_requests_are_refused_and_nothing_is_written(screen, options, error, text):
    with pytest.raises(error, match=text):
        spm.tl.benchmark(screen, **options)
    assert "benchmark" not in screen.uns


def test_a_screen_without_a_test_side_is_refused(screen):
    cells = screen[(screen.obs["split"] != "test").to_numpy()].copy()
    with pytest.raises(ValueError, match="on the test side"), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        spm.tl.benchmark(cells, ["mean"])


def test_folds_are_judged_together(screen):
    for fold in range(3):
        spm.pp.split_conditions(screen, "kfold", fold=(fold, 3), key_added=f"fold{fold}")
    spm.tl.benchmark(screen, ["mean", "ridge"], splits=["fold0", "fold1", "fold2"])
    found = screen.uns["benchmark"]
    assert set(found["scores"]["split"]) == {"fold0", "fold1", "fold2"}
    singles = found["conditions"][~found["conditions"]["perturbation"].str.contains("+", regex=False)]
    assert len(singles) == singles["perturbation"].nunique() == 16
    verdict = found["verdicts"].set_index("model").loc["ridge"]
    assert verdict["baseline"] == "mean" and verdict["n"] == found["conditions"]["perturbation"].nunique()


def test_a_folder_keeps_every_job_tables_json_and_a_report(screen, tmp_path):
    options = {"net": NET, "train": TRAIN, "folder": tmp_path / "bench", "seeds": [0, 1]}
    spm.tl.benchmark(screen, ["mean", "bimamba", "knn:sets"], **options)
    folder = tmp_path / "bench"
    kept = sorted(path.name for path in (folder / "predictions").iterdir())
    assert kept == [
        "bimamba--split--0.h5ad",
        "bimamba--split--1.h5ad",
        "knn-sets--split--0.h5ad",
        "mean--split--0.h5ad",
    ]
    for name in TABLES:
        table = screen.uns["benchmark"][name]
        assert len(pd.read_csv(folder / f"{name}.csv")) == len(table)
    assert (folder / "report.html").stat().st_size > 0
    assert not list(folder.rglob("*partial*"))
    effects = ad.read_h5ad(folder / "predictions" / "bimamba--split--1.h5ad")
    assert list(effects.obs["perturbation"]) == list(screen.uns["benchmark"]["conditions"]["perturbation"])


def test_the_json_has_the_shape_and_the_names_of_scmodelforge(screen, tmp_path, conditions_of):
    spm.tl.benchmark(screen, ["mean", "knn"], folder=tmp_path)
    found = json.loads((tmp_path / "json" / "knn.json").read_text())
    assert sorted(found) == ["benchmark_name", "dataset_name", "metadata", "metrics"]
    names = ["pearson_mean", "mse_mean", "direction_accuracy"]
    assert sorted(found["metrics"]) == sorted(
        [*names, *(f"baseline_{one}" for one in names), "fraction_above_baseline"]
    )
    n_test = len(conditions_of(screen, "test"))
    n_train = len(conditions_of(screen, "train")) + len(conditions_of(screen, "val"))
    assert found["metadata"] == {
        "n_cells": screen.n_obs, "n_perturbations": n_train + n_test, "n_train": n_train, "n_test": n_test,
        "n_top_genes": 50,
    }  # fmt: skip
    mean = json.loads((tmp_path / "json" / "mean.json").read_text())["metrics"]
    for name in names:
        assert mean[name] == pytest.approx(mean[f"baseline_{name}"], abs=1e-6)
        assert found["metrics"][f"baseline_{name}"] == pytest.approx(mean[name], abs=1e-6)
    assert mean["fraction_above_baseline"] == 0


def test_an_interrupted_benchmark_goes_on_and_foreign_files_are_refused(screen, tmp_path, monkeypatch):
    from scperturbmamba.tl import _benchmark_jobs as jobs

    fitted = []
    original = jobs._fit

    def counting(job, setting):
        fitted.append(job.model)
        if job.model == "ridge" and "again" not in fitted:
            raise KeyboardInterrupt
        return original(job, setting)

    monkeypatch.setattr(jobs, "_fit", counting)
    with pytest.raises(KeyboardInterrupt):
        spm.tl.benchmark(screen, ["mean", "knn", "ridge"], folder=tmp_path)
    assert "benchmark" not in screen.uns
    fitted.append("again")
    spm.tl.benchmark(screen, ["mean", "knn", "ridge"], folder=tmp_path)
    assert fitted == ["mean", "knn", "ridge", "again", "ridge"]
    whole = screen.uns["benchmark"]["summary"]
    spm.tl.benchmark(screen, ["mean", "knn", "ridge"])
    pd.testing.assert_frame_equal(whole, screen.uns["benchmark"]["summary"])
    spm.pp.split_conditions(screen, random_state=5)
    with pytest.raises(ValueError, match=r"mean--split--0\.h5ad.*other data.*Choose another `folder`"):
        spm.tl.benchmark(screen, ["mean", "knn", "ridge"], folder=tmp_path)


def test_processes_give_the_same_numbers(screen, monkeypatch):
    options = {"net": NET, "train": TRAIN, "seeds": [0, 1]}
    spm.tl.benchmark(screen, ["mean", "bimamba", "embedding_ridge"], **options)
    alone = screen.uns["benchmark"]["summary"]
    monkeypatch.setattr(spm.settings, "n_jobs", 2)
    spm.tl.benchmark(screen, ["mean", "bimamba", "embedding_ridge"], **options)
    pd.testing.assert_frame_equal(screen.uns["benchmark"]["summary"].loc[alone.index], alone, rtol=1e-4, atol=1e-5)


def test_the_ridge_from_a_condition_s_own_cells_is_a_mode_and_its_leak_is_named(screen):
    screen.obsm["X_own"] = np.asarray(screen.X.todense())[:, :12]
    spm.tl.benchmark(screen, ["mean", "ridge", "embedding_ridge:X_own", "embedding_ridge"])
    found = screen.uns["benchmark"]
    words = found["verdicts"].set_index("model")["verdict"]
    assert words["embedding_ridge"].str.startswith("leaks").all()
    assert words["embedding_ridge:X_own"].str.startswith("leaks").all()
    assert found["summary"].loc["embedding_ridge", "mse"] < found["summary"].loc["ridge", "mse"]
    with pytest.raises(KeyError, match="X_none"):
        spm.tl.benchmark(screen, ["embedding_ridge:X_none"])


# ---------------------------------------------------------------- drugs on plates


@pytest.fixture(scope="module")
def drugs():
    adata = spm.datasets.toy_drugs(n_genes=40, n_drugs=12, cells_per_condition=16, n_control=150)
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    spm.pp.normalize(adata)
    return adata


@pytest.mark.parametrize(
    ("scheme", "options", "context"),
    [("dose", {}, None), ("pair", {"context": "cell_line"}, "cell_line"), ("perturbation", {}, None)],
)
@pytest.mark.parametrize("matched", [False, True])
def test_doses_pairs_and_drugs_are_judged_with_and_without_matched_controls(drugs, scheme, options, context, matched):
    adata = drugs.copy()
    if matched:
        spm.pp.match_controls(adata, "plate")
    spm.pp.split_conditions(adata, scheme, **options)
    spm.tl.benchmark(adata, ["no_change", "mean"], context=context)
    on_test = adata.obs[(adata.obs["split"] == "test") & ~adata.obs["is_control"]]
    keys = ["perturbation", *([context] if context else [])]
    wanted = on_test[keys].astype(str).drop_duplicates()
    judged = adata.uns["benchmark"]["conditions"]
    assert len(judged) == len(wanted)
    assert set(judged["perturbation"]) == set(wanted["perturbation"])
    assert np.isfinite(adata.uns["benchmark"]["summary"].loc["mean", "pearson_delta"])
    if scheme == "dose":
        assert set(judged["novelty"]) == {"seen gene"}


def test_predictions_are_judged_against_the_controls_of_their_plate(drugs):
    adata = drugs.copy()
    spm.pp.match_controls(adata, "plate")
    spm.pp.split_conditions(adata, "dose")
    spm.tl.train_predictor(adata, preset="fast")
    held_out = sorted(adata.obs.query("split == 'test' and not is_control")["perturbation"].astype(str).unique())
    predicted = spm.tl.predict(adata, held_out)
    spm.tl.evaluate(predicted, adata)
    assert set(predicted.obs["split"]) == {"test"}
    assert np.isfinite(predicted.obs["pearson_delta"]).all()
    coverage = predicted.uns["evaluation"].get("coverage")
    assert coverage is None or coverage["observed"].between(0, 1).all()
