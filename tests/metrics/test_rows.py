import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from scperturbmamba import metrics

ROW_WISE = {
    "mse": metrics.mse,
    "mae": metrics.mae,
    "l2": metrics.l2,
    "pearson": metrics.pearson,
    "pearson_centred": lambda a, b: metrics.pearson_centred(a, b, np.linspace(-1, 1, np.shape(a)[1])),
    "direction_accuracy": metrics.direction_accuracy,
}
whole = st.integers(-1000, 1000).map(lambda value: value / 100)
pairs = st.integers(3, 30).flatmap(
    lambda genes: st.tuples(*(arrays(np.float64, (3, genes), elements=whole) for _ in range(2)))
)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def noise(rows=4, genes=50, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, genes))


@settings(deadline=None)
@given(pairs)
def test_errors_agree_with_sklearn_and_numpy(drawn):
    a, b = drawn
    np.testing.assert_allclose(metrics.mse(a, b), mean_squared_error(a.T, b.T, multioutput="raw_values"))
    np.testing.assert_allclose(metrics.mae(a, b), mean_absolute_error(a.T, b.T, multioutput="raw_values"))
    np.testing.assert_allclose(metrics.l2(a, b), np.linalg.norm(a - b, axis=1))


@settings(deadline=None)
@given(pairs)
def test_pearson_agrees_with_scipy_and_is_zero_for_a_constant_row(drawn):
    a, b = drawn
    for value, x, y in zip(metrics.pearson(a, b), a, b):
        constant = np.ptp(x) == 0 or np.ptp(y) == 0
        assert value == pytest.approx(0 if constant else stats.pearsonr(x, y).statistic, abs=1e-9)


@settings(deadline=None)
@given(pairs, arrays(np.float64, 30, elements=whole))
def test_centred_pearson_is_pearson_of_what_is_left(drawn, centre):
    a, b = drawn
    centre = centre[: a.shape[1]]
    for value, x, y in zip(metrics.pearson_centred(a, b, centre), a - centre, b - centre):
        constant = np.ptp(x) < 1e-9 or np.ptp(y) < 1e-9
        assert value == pytest.approx(0 if constant else stats.pearsonr(x, y).statistic, abs=1e-7)


@settings(deadline=None)
@given(pairs)
def test_r2_against_the_mean_agrees_with_sklearn(drawn):
    a, b = drawn
    mean = a.mean(0)
    if np.square(a - mean).sum() > 1e-9:
        wanted = r2_score((a - mean).ravel(), (b - mean).ravel())
        assert metrics.r2(a, b, a.mean(0)) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(pairs, st.integers(1, 40))
def test_direction_accuracy_agrees_with_a_loop(drawn, n_top_genes):
    a, b = drawn
    for value, x, y in zip(metrics.direction_accuracy(a, b, n_top_genes=n_top_genes), a, b):
        top = sorted(range(len(x)), key=lambda gene: -abs(x[gene]))[:n_top_genes]
        share = [0.5 if x[gene] == 0 or y[gene] == 0 else float((x[gene] > 0) == (y[gene] > 0)) for gene in top]
        assert value == pytest.approx(np.mean(share))


@pytest.mark.parametrize("name", ROW_WISE)
def test_rows_are_scored_apart_and_genes_in_any_order(name):
    a, b = noise(seed=1), noise(seed=2)
    score = ROW_WISE[name]
    alone = np.concatenate([score(a[[row]], b[[row]]) for row in range(len(a))])
    np.testing.assert_allclose(score(a, b), alone)
    if name != "pearson_centred":
        order = np.random.default_rng(3).permutation(a.shape[1])
        np.testing.assert_allclose(score(a[:, order], b[:, order]), score(a, b))


@pytest.mark.parametrize("name", ROW_WISE)
def test_a_perfect_prediction_has_the_best_score(name):
    a = noise()
    best = 0.0 if name in ("mse", "mae", "l2") else 1.0
    np.testing.assert_allclose(ROW_WISE[name](a, a), best, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 7.0, 1e8])
@pytest.mark.parametrize("shift", [0.0, -3.0])
def test_pearson_does_not_depend_on_scale_and_shift(scale, shift):
    a, b = noise(seed=1), noise(seed=2)
    np.testing.assert_allclose(metrics.pearson(a * scale + shift * scale, b), metrics.pearson(a, b), rtol=1e-6)
    np.testing.assert_allclose(metrics.pearson(a, -b * scale), -metrics.pearson(a, b), rtol=1e-6)


def test_direction_does_not_depend_on_scale():
    a, b = noise(seed=1), noise(seed=2)
    np.testing.assert_array_equal(metrics.direction_accuracy(a, 100 * b), metrics.direction_accuracy(a, b))
    np.testing.assert_allclose(metrics.direction_accuracy(a, -b), 1 - metrics.direction_accuracy(a, b))
    np.testing.assert_array_equal(metrics.direction_accuracy(a, 0 * b), np.full(4, 0.5))


@pytest.mark.parametrize("name", ROW_WISE)
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["truth", "prediction"])
def test_a_gene_that_is_not_finite_on_one_side_is_left_out(name, hole, side):
    a, b = noise(seed=1), noise(seed=2)
    keep = np.ones(a.shape[1], dtype=bool)
    keep[[3, 40]] = False
    with_holes = {"truth": a.copy(), "prediction": b.copy()}
    with_holes[side][:, ~keep] = hole
    if name == "pearson_centred":
        wanted = metrics.pearson_centred(a[:, keep], b[:, keep], np.linspace(-1, 1, 50)[keep])
    else:
        wanted = ROW_WISE[name](a[:, keep], b[:, keep])
    np.testing.assert_allclose(ROW_WISE[name](with_holes["truth"], with_holes["prediction"]), wanted)


def test_r2_leaves_out_a_missing_entry_from_both_sums():
    a, b, reference = noise(seed=1), noise(seed=2), noise(1, seed=3)[0]
    holes = np.random.default_rng(4).random(a.shape) < 0.3
    wanted = 1 - np.square(a - b)[~holes].sum() / np.square(a - reference)[~holes].sum()
    assert metrics.r2(a, np.where(holes, np.nan, b), reference) == pytest.approx(wanted)
    assert metrics.r2(np.where(holes, np.nan, a), b, reference) == pytest.approx(wanted)


@pytest.mark.parametrize("name", ROW_WISE)
def test_a_row_without_a_finite_pair_is_nan_and_the_others_are_not(name):
    a, b = noise(seed=1), noise(seed=2)
    a[1], b[2] = np.nan, np.inf
    assert np.isnan(ROW_WISE[name](a, b)).tolist() == [False, True, True, False]


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 12.7, 1e6])
def test_a_constant_prediction_says_nothing_whatever_its_rounding(value):
    truth = np.array([[1.0, 2.0, 4.0, -3.0, 0.3]])
    constant = np.full((1, 5), value)
    assert metrics.pearson(truth, constant).tolist() == [0.0]
    assert metrics.pearson(constant, truth).tolist() == [0.0]
    assert metrics.pearson(truth, constant.astype(np.float32)).tolist() == [0.0]


def test_the_training_mean_predicts_nothing_particular_even_in_float32():
    effects = noise(30, 200, seed=5) + 2
    centre = effects.mean(0)
    predicted = np.tile(effects.astype(np.float32).mean(0), (30, 1))
    assert (metrics.pearson_centred(effects, predicted, centre) == 0).all()
    assert (np.abs(metrics.pearson(effects, predicted)) > 0).all()


def test_r2_is_zero_for_the_reference_one_for_the_truth_and_nan_without_variance():
    a, reference = noise(), noise(1, seed=9)[0]
    assert metrics.r2(a, a, reference) == 1
    assert metrics.r2(a, np.tile(reference, (4, 1)), reference) == 0
    assert np.isnan(metrics.r2(np.ones((2, 3)), np.zeros((2, 3)), np.ones(3)))


def test_one_row_can_be_given_flat():
    assert metrics.l2([3.0, 0.0], [0.0, 4.0]).tolist() == [5.0]


@pytest.mark.parametrize("name", ROW_WISE)
def test_arrays_of_two_shapes_are_refused(name):
    with pytest.raises(ValueError, match=r"one shape.*\(2, 3\) and \(2, 4\)"):
        ROW_WISE[name](np.zeros((2, 3)), np.zeros((2, 4)))


@settings(max_examples=20, deadline=None)
@given(pairs)
def test_scores_stay_in_their_range(drawn):
    a, b = drawn
    assert (np.abs(metrics.pearson(a, b)) <= 1).all()
    assert ((metrics.direction_accuracy(a, b) >= 0) & (metrics.direction_accuracy(a, b) <= 1)).all()
    assert metrics.r2(a, b, a.mean(0)) <= 1 or np.isnan(metrics.r2(a, b, a.mean(0)))
