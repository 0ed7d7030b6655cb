"""Scores of every row, against independent computations."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import scperturbmamba as spm
from scperturbmamba._judging import is_baseline
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.tl._metric_table import LOW_IS_GOOD, METRICS, Reference, score_rows, significant_genes
from scperturbmamba.tl._model_names import baseline_names, check_name, make_baseline
from scperturbmamba.tl._scoring import predict_rows, reference_of, score_models, summarise
from scperturbmamba.tl._truth import Truth


def truth_of(delta, *, context=None, labels=None, n_cells=50):
    n = len(delta)
    rows = pd.DataFrame({"label": labels or [f"P{i}" for i in range(n)], "context": context or ["all"] * n})
    t = delta / 0.1
    return Truth(rows, delta, delta, np.full(n, n_cells), t, t)


def reference(n, n_genes, *, centre=None, control=None, targets=None):
    return Reference(
        np.zeros((n, n_genes)) if centre is None else centre,
        np.zeros((n, n_genes)) if control is None else control,
        np.zeros((n, n_genes), bool) if targets is None else targets,
    )


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 1_500)), rng.normal(size=(6, 1_500)), rng.normal(size=(6, 1_500))


def test_l2_is_over_the_thousand_genes_highest_in_control(rows):
    truth, predicted, _ = rows
    control = np.random.default_rng(1).random((6, 1_500))
    found = score_rows(truth_of(truth), predicted, reference(6, 1_500, control=control))
    for row in range(6):
        high = np.argsort(control[row])[-1_000:]
        assert found["l2"][row] == pytest.approx(np.linalg.norm((truth - control - predicted)[row, high]))
    np.testing.assert_allclose(found["mse"], ((truth - control - predicted) ** 2).mean(1))
    assert list(found) == list(METRICS)


def test_the_centre_is_taken_from_truth_and_prediction(rows):
    truth, predicted, centre = rows
    found = score_rows(truth_of(truth), predicted, reference(6, 1_500, centre=centre))
    for name, oracle in (("pearson_delta_centred", stats.pearsonr), ("spearman_delta_centred", stats.spearmanr)):
        expected = [oracle(a, b)[0] for a, b in zip(truth - centre, predicted - centre)]
        np.testing.assert_allclose(found[name], expected)


def test_the_top_genes_are_those_of_the_largest_t_not_of_the_largest_effect(rows):
    truth, predicted, _ = rows
    one = truth_of(truth)
    strong = np.random.default_rng(2).normal(size=truth.shape)
    found = score_rows(Truth(one.rows, truth, truth, one.n_cells, strong, strong), predicted, reference(6, 1_500))
    for row in range(6):
        top = np.argsort(-np.abs(strong[row]))[:50]
        assert found["mse_top50"][row] == pytest.approx(((truth - predicted)[row, top] ** 2).mean())
        weights = (np.abs(strong[row]) - np.abs(strong[row]).min()) / np.ptp(np.abs(strong[row]))
        assert found["wmse"][row] == pytest.approx(np.average((truth - predicted)[row] ** 2, weights=weights**2))


def test_rows_are_told_apart_within_their_context_and_without_their_own_genes():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(8, 30))
    targets = np.zeros((8, 30), bool)
    targets[np.arange(8), np.arange(8)] = True
    noisy = truth + 0.01 * rng.normal(size=truth.shape)
    noisy[targets] = 1e3
    context = ["x"] * 4 + ["y"] * 4
    found = score_rows(truth_of(truth, context=context), noisy, reference(8, 30, targets=targets))
    assert (found[["pds_l1", "pds_l2", "pds_cosine", "centroid_accuracy"]] == 1).all(axis=None)
    assert (found["rank"] == 0).all() and (found["mse"] > 1e4).all()
    blind = score_rows(truth_of(truth, context=context), noisy, reference(8, 30, targets=targets), with_targets=False)
    assert (blind["mse"] < 1e-3).all()
    alone = score_rows(truth_of(truth[:1]), noisy[:1], reference(1, 30))
    assert alone["pds_l1"].isna().all()


@pytest.mark.parametrize("seed", range(3))
def test_a_perfect_prediction_is_best_on_every_metric(seed):
    rng = np.random.default_rng(seed)
    truth = truth_of(rng.normal(size=(7, 300)))
    table = reference(7, 300, centre=rng.normal(size=(7, 300)))
    best = score_rows(truth, truth.delta, table)
    for other in (np.zeros((7, 300)), truth.delta[::-1], truth.delta + rng.normal(size=(7, 300))):
        found = score_rows(truth, other, table)
        for name in METRICS:
            sign = -1 if name in LOW_IS_GOOD else 1
            assert sign * best[name].mean() >= sign * found[name].mean() - 1e-9, name


def test_significant_genes_are_those_of_benjamini_and_hochberg():
    rng = np.random.default_rng(0)
    t = rng.normal(size=(3, 200)) * np.array([[1], [3], [8]])
    one = truth_of(t)
    found = significant_genes(Truth(one.rows, t, t, one.n_cells, t, t))
    for row in range(3):
        p = 2 * stats.norm.sf(np.abs(t[row]))
        order = np.sort(p)
        passing = np.flatnonzero(order <= 0.05 * np.arange(1, 201) / 200)
        limit = order[passing.max()] if len(passing) else -1
        np.testing.assert_array_equal(found[row], p <= limit)
    assert found.sum(1)[0] < found.sum(1)[2]


def test_a_summary_keeps_the_order_of_models_and_metrics_and_ignores_what_is_unknown():
    truth = truth_of(np.random.default_rng(0).normal(size=(3, 40)))
    models = {"z": truth.delta, "a": np.zeros((3, 40))}
    scores, first = score_models(models, truth, reference(3, 40))
    found = summarise(scores)
    assert list(found.index) == ["z", "a"]
    assert list(found.columns) == [name for name in METRICS if name in found]
    assert found.loc["z", "mse"] == 0 and found.loc["a", "mse"] == pytest.approx((truth.delta**2).mean())
    assert len(first) == 3
    scores.loc[scores["metric"] == "l2", "value"] = np.nan
    assert "mse" in summarise(scores)


def test_a_reference_knows_the_genes_that_are_perturbed_and_the_mean_of_the_context(screen):
    bundle = Bundle.from_adata(screen, context="cell_line", features=None)
    rows = pd.DataFrame({"label": ["GATA2", "GATA2+KLF6", "IRF7"], "context": ["line_B", "line_A", "line_A"]})
    found = reference_of(bundle, rows)
    named = [sorted(bundle.genes[gene] for gene in np.flatnonzero(row)) for row in found.targets]
    assert named == [["GATA2"], ["GATA2", "KLF6"], []]
    own = bundle.training()[bundle.context[bundle.training()] == bundle.contexts.index("line_B")]
    np.testing.assert_allclose(found.centre[0], bundle.delta[own].mean(0), rtol=1e-5)
    np.testing.assert_array_equal(found.control[0], bundle.control[bundle.contexts.index("line_B")])


def test_every_baseline_is_fitted_and_predicts_rows_in_their_own_context(screen):
    bundle = Bundle.from_adata(screen, context="cell_line", features=None)
    asked = pd.DataFrame({"label": ["GATA2", "GATA2", "GATA2+KLF6"], "context": ["line_B", "line_A", "line_B"]})
    for name in baseline_names(bundle):
        assert is_baseline(name)
        assert predict_rows(make_baseline(name).fit(bundle), bundle, asked).shape == (3, len(bundle.genes))
    found = predict_rows(make_baseline("additive").fit(bundle), bundle, asked)
    labels = [one.without_kinds().label for one in bundle.conditions]
    place = {(label, bundle.contexts[level]): row for row, (label, level) in enumerate(zip(labels, bundle.context))}
    np.testing.assert_array_equal(found[0], bundle.delta[place["GATA2", "line_B"]])
    np.testing.assert_array_equal(found[1], bundle.delta[place["GATA2", "line_A"]])
    both = bundle.delta[place["GATA2", "line_B"]] + bundle.delta[place["KLF6", "line_B"]]
    np.testing.assert_allclose(found[2], both, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["predictor", "bimamba", "lstm", "mlp", "knn:sets", "ridge_shuffled", "embedding_ridge:X_pca", "mean"]
)
def test_names_of_models_are_known(name):
    check_name(name)
    assert is_baseline(name) == name.startswith(("knn", "ridge", "mean"))


@pytest.mark.parametrize("name", ["gears", "mean:sets", "bimamba:sets", "", "mean_shuffled"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r"models|take a source"):
        check_name(name)


def test_no_change_has_no_correlation_and_is_right_on_half_of_the_signs(screen):
    spm.tl.benchmark(screen, ["no_change"])
    row = screen.uns["benchmark"]["summary"].loc["no_change"]
    assert row["pearson_delta"] == 0 and row["direction_top20"] == 0.5
