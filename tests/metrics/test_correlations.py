import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics.pairwise import paired_cosine_distances

from scperturbmamba import metrics

whole = st.integers(-1000, 1000).map(lambda value: value / 100)
pairs = st.integers(3, 30).flatmap(lambda genes: arrays(np.float64, (2, 3, genes), elements=whole))


def noise(rows=4, genes=50, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, genes))


@settings(deadline=None)
@given(pairs)
def test_pearson_and_spearman_agree_with_scipy_and_are_zero_for_a_constant_row(drawn):
    a, b = drawn
    for ours, theirs in ((metrics.pearson, stats.pearsonr), (metrics.spearman, stats.spearmanr)):
        for value, x, y in zip(ours(a, b), a, b):
            constant = np.ptp(x) == 0 or np.ptp(y) == 0
            assert value == pytest.approx(0 if constant else theirs(x, y).statistic, abs=1e-9)


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
def test_cosine_agrees_with_sklearn_and_is_zero_for_a_zero_row(drawn):
    a, b = drawn
    zero = ~(a.any(axis=1) & b.any(axis=1))
    wanted = np.where(zero, 0, 1 - paired_cosine_distances(a, b))
    np.testing.assert_allclose(metrics.cosine(a, b), wanted, atol=1e-12)


def test_spearman_sees_the_order_alone():
    a, b = noise(seed=1), noise(seed=2)
    np.testing.assert_allclose(metrics.spearman(np.exp(a), b**3), metrics.spearman(a, b), rtol=1e-12)


def test_scattered_holes_are_left_out_of_their_own_row():
    a, b = noise(seed=1), noise(seed=2)
    a[0, 3], b[0, 4], b[2, :40] = np.nan, np.inf, np.nan
    for score, theirs in ((metrics.pearson, stats.pearsonr), (metrics.spearman, stats.spearmanr)):
        for value, x, y in zip(score(a, b), a, b):
            known = np.isfinite(x) & np.isfinite(y)
            assert value == pytest.approx(theirs(x[known], y[known]).statistic)


@pytest.mark.parametrize("score", [metrics.pearson, metrics.spearman, metrics.cosine])
@pytest.mark.parametrize("scale", [1e-8, 1e-3, 7.0, 1e8])
def test_no_correlation_depends_on_scale(score, scale):
    a, b = noise(seed=1), noise(seed=2)
    np.testing.assert_allclose(score(a * scale, b), score(a, b), rtol=1e-6)
    np.testing.assert_allclose(score(a, -b * scale), -score(a, b), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 7.0, 1e8])
def test_pearson_does_not_depend_on_shift(scale):
    a, b = noise(seed=1), noise(seed=2)
    np.testing.assert_allclose(metrics.pearson(a * scale - 3 * scale, b), metrics.pearson(a, b), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 12.7, 1e6])
def test_a_constant_prediction_says_nothing_whatever_its_rounding(value):
    truth = np.array([[1.0, 2.0, 4.0, -3.0, 0.3]])
    constant = np.full((1, 5), value)
    assert metrics.pearson(truth, constant).tolist() == [0.0]
    assert metrics.pearson(constant, truth).tolist() == [0.0]
    assert metrics.pearson(truth, constant.astype(np.float32)).tolist() == [0.0]
    assert metrics.spearman(truth, constant).tolist() == [0.0]


def test_the_training_mean_predicts_nothing_particular_even_in_float32():
    effects = noise(30, 200, seed=5) + 2
    centre = effects.mean(0)
    predicted = np.tile(effects.astype(np.float32).mean(0), (30, 1))
    assert (metrics.pearson_centred(effects, predicted, centre) == 0).all()
    assert (np.abs(metrics.pearson(effects, predicted)) > 0).all()


@settings(max_examples=20, deadline=None)
@given(pairs)
def test_correlations_stay_in_their_range(drawn):
    for score in (metrics.pearson, metrics.spearman, metrics.cosine):
        assert (np.abs(score(*drawn)) <= 1).all()
