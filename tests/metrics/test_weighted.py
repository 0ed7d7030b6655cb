import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mean_squared_error, r2_score

from scperturbmamba import metrics

whole = st.integers(-1000, 1000).map(lambda value: value / 100)
pairs = st.integers(3, 30).flatmap(lambda genes: arrays(np.float64, (2, 3, genes), elements=whole))


@settings(deadline=None)
@given(pairs, st.integers(0, 100))
def test_weighted_scores_agree_with_sklearn(drawn, seed):
    a, b = drawn
    weights = np.random.default_rng(seed).uniform(0.1, 3, a.shape)
    mse = [mean_squared_error(x, y, sample_weight=w) for x, y, w in zip(a, b, weights)]
    np.testing.assert_allclose(metrics.weighted_mse(a, b, weights), mse)
    varied = np.ptp(a, axis=1) > 0
    r2 = [r2_score(x, y, sample_weight=w) for x, y, w in zip(a[varied], b[varied], weights[varied])]
    np.testing.assert_allclose(metrics.weighted_r2(a, b, weights)[varied], r2, rtol=1e-9, atol=1e-9)


def test_equal_weights_change_nothing(sides):
    ones = np.full(50, 3.0)
    np.testing.assert_allclose(metrics.weighted_mse(*sides, ones), metrics.mse(*sides))
    np.testing.assert_allclose(metrics.weighted_r2(*sides, ones), metrics.r2_score(*sides))


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_a_gene_without_a_weight_is_left_out(nothing, sides):
    a, b = sides
    weights = np.linspace(1, 2, 50)
    weights[[3, 40]] = nothing
    keep = np.setdiff1d(np.arange(50), [3, 40])
    a[:, 3], b[:, 40] = 1e9, np.nan
    for score in (metrics.weighted_mse, metrics.weighted_r2):
        np.testing.assert_allclose(score(a, b, weights), score(a[:, keep], b[:, keep], weights[keep]))
        assert np.isnan(score(a, b, np.full(50, nothing))).all()


@given(arrays(np.float64, (3, 8), elements=whole))
def test_effect_weights_agree_with_a_loop(strength):
    for weights, row in zip(metrics.effect_weights(strength), np.abs(strength)):
        wanted = ((row - row.min()) / np.ptp(row)) ** 2 if np.ptp(row) > 0 else np.ones(8)
        np.testing.assert_allclose(weights, wanted)


def test_effect_weights_leave_out_what_is_not_finite():
    weights = metrics.effect_weights([[0.0, -2.0, 1.0, np.nan, np.inf], [3.0, 3.0, np.nan, -3.0, 3.0], [np.nan] * 5])
    np.testing.assert_array_equal(weights[0], [0, 1, 0.25, np.nan, np.nan])
    np.testing.assert_array_equal(weights[1], [1, 1, np.nan, 1, 1])
    assert np.isnan(weights[2]).all()


def test_weights_that_cannot_be_are_refused(sides):
    with pytest.raises(ValueError, match=r"must not be negative; found -1"):
        metrics.weighted_mse(*sides, np.full(50, -1.0))
    with pytest.raises(ValueError, match=r"the weights must be \(6, 50\).*or \(50,\).*found \(6,\)"):
        metrics.weighted_r2(*sides, np.ones(6))
