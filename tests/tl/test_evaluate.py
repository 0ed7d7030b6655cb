import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import scperturbmamba as spm

METRICS = ["mse", "l2", "pearson_delta", "pearson_delta_centred", "direction_top20"]
IN_OBS = ["mse", "l2", "pearson_delta", "pearson_delta_centred", "direction_top20", "pds_l1"]
PLAIN = ["no_change", "mean", "matching_mean", "additive", "scaled_additive", "bilinear"]
BASELINES = [*PLAIN, "nearest", "knn", "ridge", "knn_shuffled", "ridge_shuffled"]
CEILINGS = ["replicate", "interpolated_duplicate"]
MODELS = ["predicted", *BASELINES, *CEILINGS]


def measured(adata, context=None):
    """Return effects and their t by (side, label, level), each against the control cells of its side and level."""
    table = adata.to_df().astype(np.float64)
    level = pd.Series("all", index=adata.obs_names) if context is None else adata.obs[context].astype(str)
    keys = [adata.obs["split"].astype(str), adata.obs["perturbation"].astype(str), level]
    groups = table.groupby(keys)
    means, errors = groups.mean(), groups.var() / groups.count()
    for one in (means, errors):
        one.index.names = ["side", "label", "level"]
    control, noise = (one.xs("control", level="label") for one in (means, errors))
    treated = [key for key in means.index if key[1] not in ("control", "nan")]
    effects = {key: (means.loc[key] - control.loc[(key[0], key[2])]).to_numpy() for key in treated}
    spread = {key: np.sqrt(errors.loc[key] + noise.loc[(key[0], key[2])]).to_numpy() for key in treated}
    return effects, {key: np.nan_to_num(effects[key] / spread[key]) for key in treated}, control


def expected_scores(truth, t, predicted, centre, noise):
    """``noise``: control of the training side minus that of the truth."""
    top = np.argsort(-np.abs(t), kind="stable")[:20]
    sign = np.where(predicted[top] == 0, 0.5, np.sign(predicted[top]) == np.sign(truth[top]))
    flat = np.ptp(predicted) < 1e-12
    flat_centred = np.ptp(predicted - centre) < 1e-6
    return {
        "mse": np.mean((truth - noise - predicted) ** 2),
        "l2": np.linalg.norm(truth - noise - predicted),
        "pearson_delta": 0 if flat else stats.pearsonr(truth, predicted)[0],
        "pearson_delta_centred": 0 if flat_centred else stats.pearsonr(truth - centre, predicted - centre)[0],
        "direction_top20": sign.mean(),
    }


def expected_baselines(effects, label, level):
    train = {key[1:]: value for key, value in effects.items() if key[0] == "train"}
    own = [value for (_, one), value in train.items() if one == level]
    parts = [train.get((part, level), 0) for part in label.split("+")]
    zero = np.zeros(len(own[0]))
    return {"no_change": zero, "mean": np.mean(own, axis=0), "additive": zero + sum(parts)}


@pytest.mark.parametrize(("which", "context"), [("trained", None), ("counted", "cell_line")])
def test_scores_are_those_of_an_independent_computation(request, conditions_of, which, context):
    adata = request.getfixturevalue(which)
    labels = [*conditions_of(adata, "test"), *conditions_of(adata, "val"), *conditions_of(adata, "train")[:3]]
    predicted = spm.tl.predict(adata, labels)
    assert spm.tl.evaluate(predicted, adata) is None
    effects, t, control = measured(adata, context)
    tidy = spm.get.scores(predicted)
    tidy = tidy[(tidy["genes"] == "all") & tidy["model"].isin(MODELS[:-2])]
    scores = tidy.pivot(index=["perturbation", "context", "model"], columns="metric", values="value")
    assert len(scores) == len(MODELS[:-2]) * predicted.n_obs
    for name in predicted.obs_names:
        row = predicted.obs.loc[name]
        key = next(one for one in effects if one[1:] == (row["perturbation"], row["context"]))
        assert row["split"] == key[0]
        models = {"predicted": predicted[name].layers["delta"][0].astype(np.float64)}
        models |= expected_baselines(effects, row["perturbation"], row["context"])
        own = [value for one, value in effects.items() if one[0] == "train" and one[2] == key[2]]
        for model, guess in models.items():
            noise = (control.loc[("train", key[2])] - control.loc[(key[0], key[2])]).to_numpy()
            wanted = expected_scores(effects[key], t[key], guess, np.mean(own, axis=0), noise)
            for metric in METRICS:
                found = scores.loc[(row["perturbation"], row["context"], model), metric]
                assert found == pytest.approx(wanted[metric], abs=2e-4), (name, model, metric)
                if model == "predicted":
                    assert row[metric] == pytest.approx(found, abs=1e-12)


def test_the_baselines_always_stand_beside_the_prediction(trained, conditions_of):
    predicted = spm.tl.predict(trained, conditions_of(trained, "test"))
    spm.tl.evaluate(predicted, trained)
    summary = predicted.uns["evaluation"]["summary"]
    assert list(summary.index) == MODELS and len(summary.columns) == 31
    scores = spm.get.scores(predicted)
    assert list(scores.columns) == ["model", "genes", "perturbation", "context", "metric", "value"]
    assert set(scores["genes"]) == {"all", "without target"}
    with_target = scores[scores["genes"] == "all"]
    np.testing.assert_allclose(
        summary.stack().sort_index(),
        with_target.groupby(["model", "metric"])["value"].mean().dropna().sort_index(),
    )
    assert summary.loc["no_change", "pearson_delta"] == 0 and summary.loc["no_change", "direction_top20"] == 0.5
    assert summary.loc["mean", "pearson_delta_centred"] == pytest.approx(0, abs=1e-6)


def test_a_perfect_prediction_is_scored_as_perfect(trained, conditions_of):
    predicted = spm.tl.predict(trained, conditions_of(trained, "test"))
    effects, _, control = measured(trained)
    predicted.layers["delta"] = np.array([effects["test", name, "all"] for name in predicted.obs_names])
    spm.tl.evaluate(predicted, trained)
    best = predicted.uns["evaluation"]["summary"].loc["predicted"]
    low = ["mse", "mae", "l2", "wmse", "rank", "mse_top20", "mse_top50", "mse_top100", "mse_top200"]
    assert best["rank"] == 0
    noise = (control.loc[("train", "all")] - control.loc[("test", "all")]).to_numpy()
    assert best["mse"] == pytest.approx(np.mean(noise**2), rel=1e-4)  # of the controls, no more
    some = [name for name in best.index if name not in low and not name.startswith("de_")]
    assert best[some].to_numpy() == pytest.approx(1, abs=1e-6)
    assert best["pearson_delta"] == pytest.approx(1) and best["pearson_delta_centred"] == pytest.approx(1)
    assert best["direction_top20"] == 1


def test_evaluating_leaves_the_screen_and_the_predictions_as_they_were(trained, everything_in, conditions_of):
    predicted = spm.tl.predict(trained, conditions_of(trained, "test"))
    before, x = everything_in(trained), predicted.X.copy()
    spm.tl.evaluate(predicted, trained)
    assert everything_in(trained) == before
    assert np.array_equal(predicted.X, x)
    assert list(predicted.obs)[:5] == ["perturbation", "context", "seen", "n_train_cells", "support"]
    assert sorted(list(predicted.obs)[9:]) == sorted([*IN_OBS, "split"])


def test_evaluating_twice_gives_the_same(trained, conditions_of):
    predicted = spm.tl.predict(trained, conditions_of(trained, "test"))
    spm.tl.evaluate(predicted, trained)
    once = predicted.obs.copy()
    spm.tl.evaluate(predicted, trained)
    pd.testing.assert_frame_equal(predicted.obs, once)


def test_what_was_not_measured_is_not_scored(trained):
    predicted = spm.tl.predict(trained, ["TP53", "KLF15", "control"])
    spm.tl.evaluate(predicted, trained)
    assert predicted.obs["mse"].notna().tolist() == [False, True, False]
    assert predicted.obs["split"].tolist() == [np.nan, "test", np.nan] or predicted.obs["split"].isna().sum() == 2
    assert set(spm.get.scores(predicted)["perturbation"]) == {"KLF15"}


def test_scores_survive_a_file(trained, tmp_path, conditions_of):
    predicted = spm.tl.predict(trained, [*conditions_of(trained, "test"), "TP53"])
    spm.tl.evaluate(predicted, trained)
    predicted.write_h5ad(tmp_path / "p.h5ad")
    back = ad.read_h5ad(tmp_path / "p.h5ad")
    pd.testing.assert_frame_equal(spm.get.scores(back), spm.get.scores(predicted), check_dtype=False)
    pd.testing.assert_frame_equal(
        back.uns["evaluation"]["summary"], predicted.uns["evaluation"]["summary"], check_names=False
    )
    spm.tl.evaluate(back, trained)
    np.testing.assert_array_equal(back.obs["mse"], predicted.obs["mse"])


def test_a_part_of_the_predictions_can_be_judged(trained, conditions_of):
    whole = spm.tl.predict(trained, conditions_of(trained, "test"))
    part = whole[:2].copy()
    spm.tl.evaluate(part, trained)
    spm.tl.evaluate(whole, trained)
    np.testing.assert_array_equal(part.obs["mse"], whole.obs["mse"].iloc[:2])


def test_the_screen_may_hold_its_genes_in_another_order(trained, conditions_of):
    predicted = spm.tl.predict(trained, conditions_of(trained, "test"))
    moved = trained[:, trained.var_names[::-1]].copy()
    spm.tl.evaluate(predicted, trained)
    expected = predicted.obs["mse"].to_numpy().copy()
    spm.tl.evaluate(predicted, moved)
    np.testing.assert_allclose(predicted.obs["mse"], expected)


def test_a_side_without_control_cells_is_left_out_with_a_warning(trained, conditions_of):
    predicted = spm.tl.predict(trained, [*conditions_of(trained, "test"), *conditions_of(trained, "val")])
    gone = (trained.obs["split"] == "test") & trained.obs["is_control"]
    with pytest.warns(UserWarning, match="side 'test' has no control cells"):
        spm.tl.evaluate(predicted, trained[~gone.to_numpy()].copy())
    assert set(predicted.obs["split"].dropna()) == {"val"}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda p, a: (p, a[:, a.var_names[5:]].copy()), (KeyError, ValueError), "[A-Z0-9]+"),
        (lambda p, a: (p[:0].copy(), a), ValueError, "none of the predicted conditions"),
        (lambda p, a: (ad.AnnData(p.X, obs=p.obs, var=p.var), a), KeyError, r"spm\.tl\.predict"),
        (lambda p, a: (p, a[~a.obs["is_control"].to_numpy()].copy()), ValueError, "control cells"),
    ],
)
def test_what_cannot_be_judged_is_refused(trained, conditions_of, change, error, text):
    predicted, adata = change(spm.tl.predict(trained, conditions_of(trained, "test")), trained)
    before = list(predicted.obs)
    with pytest.raises(error, match=text):
        spm.tl.evaluate(predicted, adata)
    assert list(predicted.obs) == before and "evaluation" not in predicted.uns


@pytest.mark.parametrize(("slot", "made_by"), [("split", "split_conditions"), ("perturbation", "perturbation_labels")])
def test_a_screen_that_lacks_a_slot_is_told_what_to_run(trained, conditions_of, slot, made_by):
    predicted = spm.tl.predict(trained, conditions_of(trained, "test"))
    del trained.obs[slot]
    with pytest.raises(KeyError, match=made_by):
        spm.tl.evaluate(predicted, trained)


def test_sampled_cells_are_refused(counted):
    with pytest.raises(ValueError, match=r"one row per condition.*n_cells"):
        spm.tl.evaluate(spm.tl.predict(counted, "GATA2", n_cells=3), counted)


def test_a_good_evaluation_is_silent(trained, conditions_of):
    predicted = spm.tl.predict(trained, conditions_of(trained, "test"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        spm.tl.evaluate(predicted, trained)


def test_the_perturbed_genes_are_left_out_of_the_second_half_of_the_scores(trained):
    predicted = spm.tl.predict(trained, ["KLF15", "GATA2"])
    spm.tl.evaluate(predicted, trained)
    before = spm.get.scores(predicted)
    for name in ("KLF15", "GATA2"):
        if name in predicted.var_names:
            predicted.layers["delta"][list(predicted.obs_names).index(name), list(predicted.var_names).index(name)] = 99
    spm.tl.evaluate(predicted, trained)
    after = spm.get.scores(predicted)
    ours = before["model"] == "predicted"
    blind, told_apart = before["genes"] == "without target", before["metric"].str.startswith("pds")
    np.testing.assert_array_equal(before[ours & blind]["value"], after[ours & blind]["value"])
    np.testing.assert_array_equal(before[ours & told_apart]["value"], after[ours & told_apart]["value"])
    measured_targets = [name for name in ("KLF15", "GATA2") if name in predicted.var_names]
    assert measured_targets and not np.allclose(before[ours & ~blind]["value"], after[ours & ~blind]["value"])


def test_what_was_held_out_is_described(trained, conditions_of):
    predicted = spm.tl.predict(trained, [*conditions_of(trained, "test"), "GATA2"])
    spm.tl.evaluate(predicted, trained)
    rows = predicted.uns["evaluation"]["conditions"].set_index("perturbation")
    assert rows.loc["GATA2", "novelty"] == "seen gene"
    held_out = rows.drop(index="GATA2")
    seen = set(conditions_of(trained, "train"))
    for label, novelty in held_out["novelty"].items():
        parts = label.split("+")
        known = sum(any(part in one.split("+") for one in seen) for part in parts)
        assert novelty == (f"{known} of 2 seen" if len(parts) == 2 else "seen gene" if known else "unseen gene")
    cells = trained.obs[trained.obs["split"] == "test"]["perturbation"].value_counts()
    assert held_out["n_cells"].tolist() == [cells[label] for label in held_out.index]


def test_a_condition_with_cells_on_every_side_is_judged_on_the_test_side(screen):
    spm.pp.split_conditions(screen, "cell")
    spm.tl.train_predictor(screen, net={"core": None, "width": 8, "head_width": 8, "state": 4}, train={"epochs": 1})
    predicted = spm.tl.predict(screen, ["GATA2", "KLF15"])
    spm.tl.evaluate(predicted, screen)
    assert predicted.obs["split"].tolist() == ["test", "test"]
