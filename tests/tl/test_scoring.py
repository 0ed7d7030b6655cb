import numpy as np
import pandas as pd
import pytest

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.tl._scoring import BASELINES, METRICS, fit_baselines, predict_rows, score_rows, summarise, tidy


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 1_500)), rng.normal(size=(3, 1_500)), rng.normal(size=1_500)


def test_l2_is_over_the_thousand_genes_highest_in_control(rows):
    truth, predicted, centre = rows
    control = np.random.default_rng(1).random(1_500)
    high = np.argsort(control)[-1_000:]
    found = score_rows(truth, predicted, centre=centre, control=control)
    np.testing.assert_allclose(found["l2"], np.linalg.norm((truth - predicted)[:, high], axis=1))
    np.testing.assert_allclose(found["mse"], ((truth - predicted) ** 2).mean(1))
    assert list(found) == list(METRICS)


def test_the_centre_is_taken_from_truth_and_prediction(rows):
    truth, predicted, centre = rows
    control = np.zeros(1_500)
    found = score_rows(truth, predicted, centre=centre, control=control)["pearson_delta_centred"]
    expected = [np.corrcoef(a - centre, b - centre)[0, 1] for a, b in zip(truth, predicted)]
    np.testing.assert_allclose(found, expected)


def test_a_summary_keeps_the_order_of_models_and_metrics():
    table = pd.DataFrame({name: [1.0, 3.0] for name in reversed(METRICS)})
    scores = pd.concat([tidy(table + n, model=model, conditions=["a", "b"]) for n, model in enumerate(("z", "a"))])
    found = summarise(scores)
    assert list(found.index) == ["z", "a"] and list(found.columns) == list(METRICS)
    assert found.loc["z"].tolist() == [2.0] * 5 and found.loc["a"].tolist() == [3.0] * 5


def test_a_metric_that_is_unknown_everywhere_does_not_hide_the_model():
    table = pd.DataFrame({"mse": [1.0], "l2": [np.nan]})
    assert summarise(tidy(table, model="one", conditions=["a"])).loc["one", "mse"] == 1


def test_every_baseline_is_fitted_and_predicts_rows_in_their_own_context(screen):
    bundle = Bundle.from_adata(screen, context="cell_line")
    fitted = fit_baselines(bundle)
    assert list(fitted) == list(BASELINES) == ["no_change", "mean", "additive"]
    asked = pd.DataFrame({"label": ["GATA2", "GATA2", "GATA2+KLF6"], "context": ["line_B", "line_A", "line_B"]})
    found = predict_rows(fitted["additive"], bundle, asked)
    labels = [one.without_kinds().label for one in bundle.conditions]
    place = {(label, bundle.contexts[level]): row for row, (label, level) in enumerate(zip(labels, bundle.context))}
    np.testing.assert_array_equal(found[0], bundle.delta[place["GATA2", "line_B"]])
    np.testing.assert_array_equal(found[1], bundle.delta[place["GATA2", "line_A"]])
    both = bundle.delta[place["GATA2", "line_B"]] + bundle.delta[place["KLF6", "line_B"]]
    np.testing.assert_allclose(found[2], both, rtol=1e-5, atol=1e-6)
