import json
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scperturbmamba as spm

NET = {"width": 8, "head_width": 8, "state": 4}
TRAIN = {"epochs": 2, "every_n_epochs": 1}
METRICS = ["mse", "l2", "pearson_delta", "pearson_delta_centred", "direction_top20"]
BASELINES = ["no_change", "mean", "additive"]


def test_every_model_is_scored_on_every_test_condition(screen, everything_in, conditions_of, tmp_path):
    before = everything_in(screen)
    assert spm.tl.benchmark(screen, net=NET, train=TRAIN, seeds=np.arange(2)) is None
    held_out = conditions_of(screen, "test")
    found = screen.uns["benchmark"]
    assert list(found["summary"].index) == [*BASELINES, "bimamba"] and list(found["summary"]) == METRICS
    scores = spm.get.scores(screen)
    assert len(scores) == len(held_out) * len(METRICS) * (3 + 2)
    assert sorted(set(scores["perturbation"])) == held_out
    assert scores.groupby("model")["seed"].unique().map(sorted).to_dict() == {
        **dict.fromkeys(BASELINES, [0]),
        "bimamba": [0, 1],
    }
    means = scores.groupby(["model", "metric"])["value"].mean()
    for model in found["summary"].index:
        np.testing.assert_allclose(found["summary"].loc[model], means[model][METRICS])
    assert found["params"]["seeds"] == ["0", "1"] and found["params"]["n_test"] == len(held_out)
    assert json.loads(found["params"]["net"])["width"] == 8
    screen.write_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(spm.get.scores(ad.read_h5ad(tmp_path / "a.h5ad")), scores, check_dtype=False)
    del screen.uns["benchmark"]
    assert everything_in(screen) == before


def test_the_benchmark_says_of_the_baselines_and_the_network_what_evaluate_says(trained, conditions_of):
    predicted = spm.tl.predict(trained, conditions_of(trained, "test"))
    spm.tl.evaluate(predicted, trained)
    spm.tl.benchmark(trained, net=NET, train={"epochs": 3, "every_n_epochs": 1})
    expected = predicted.uns["evaluation"]["summary"].rename(index={"predicted": "bimamba"})
    found = trained.uns["benchmark"]["summary"].loc[expected.index]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_lstm_is_a_model_of_its_own_and_heads_and_contexts_are_taken(screen):
    options = {"net": {**NET, "head": "nb"}, "train": TRAIN, "context": "cell_line", "key_added": "mine"}
    spm.tl.benchmark(screen, ["bimamba", "lstm", "mean"], **options)
    summary = screen.uns["mine"]["summary"]
    assert list(summary.index) == ["bimamba", "lstm", "mean"]
    assert not np.allclose(summary.loc["bimamba"], summary.loc["lstm"])
    scores = spm.get.scores(screen, key="mine")
    assert all(name.endswith(("| line_A", "| line_B")) for name in scores["perturbation"])


def test_baselines_alone_need_no_features(screen):
    for name in ("identity", "position", "sets"):
        del screen.varm[f"gene_{name}"], screen.uns[f"gene_{name}"]
    spm.tl.benchmark(screen, "additive")
    assert list(screen.uns["benchmark"]["summary"].index) == ["additive"]


def test_test_cells_that_change_change_the_scores_and_not_the_models(screen):
    spm.tl.benchmark(screen, ["mean", "additive"])
    before = spm.get.scores(screen).set_index(["model", "perturbation", "metric"])["value"]
    screen.X = screen.X.toarray()
    screen.X[(screen.obs["split"] == "train").to_numpy()] *= 1.1
    spm.tl.benchmark(screen, ["mean", "additive"])
    after = spm.get.scores(screen).set_index(["model", "perturbation", "metric"])["value"]
    assert not np.allclose(before, after)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"models": ["mean", "gears"]}, ValueError, r"'bimamba', 'lstm'.*'gears'"),
        ({"models": []}, ValueError, "models"),
        ({"models": ["bimamba"], "seeds": []}, ValueError, "seeds"),
        ({"net": {"wdith": 3}}, ValueError, "wdith"),
        ({"key": "other"}, KeyError, "split_conditions"),
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
