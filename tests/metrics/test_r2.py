import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import r2_score

from scperturbmamba import metrics

whole = st.integers(-1000, 1000).map(lambda value: value / 100)
pairs = st.integers(3, 30).flatmap(lambda genes: arrays(np.float64, (2, 3, genes), elements=whole))


def noise(rows=4, genes=50, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, genes))


@settings(deadline=None)
@given(pairs)
def test_r2_against_the_mean_agrees_with_sklearn(drawn):
    a, b = drawn
    mean = a.mean(0)
    if np.square(a - mean).sum() > 1e-9:
        wanted = r2_score((a - mean).ravel(), (b - mean).ravel())
        assert metrics.r2(a, b, a.mean(0)) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_r2_leaves_out_a_missing_entry_from_both_sums():
    a, b, reference = noise(seed=1), noise(seed=2), noise(1, seed=3)[0]
    holes = np.random.default_rng(4).random(a.shape) < 0.3
    wanted = 1 - np.square(a - b)[~holes].sum() / np.square(a - reference)[~holes].sum()
    assert metrics.r2(a, np.where(holes, np.nan, b), reference) == pytest.approx(wanted)
    assert metrics.r2(np.where(holes, np.nan, a), b, reference) == pytest.approx(wanted)


def test_r2_is_zero_for_the_reference_one_for_the_truth_and_nan_without_variance():
    a, reference = noise(), noise(1, seed=9)[0]
    assert metrics.r2(a, a, reference) == 1
    assert metrics.r2(a, np.tile(reference, (4, 1)), reference) == 0
    assert np.isnan(metrics.r2(np.ones((2, 3)), np.zeros((2, 3)), np.ones(3)))


@settings(max_examples=20, deadline=None)
@given(pairs)
def test_r2_is_at_most_one(drawn):
    a, b = drawn
    assert metrics.r2(a, b, a.mean(0)) <= 1 or np.isnan(metrics.r2(a, b, a.mean(0)))
    assert (metrics.r2_score(a, b) <= 1).all()


@settings(deadline=None)
@given(pairs)
def test_the_r2_of_a_row_agrees_with_sklearn(drawn):
    a, b = drawn
    varied = np.ptp(a, axis=1) > 0  # sklearn takes the rounding of a constant row for variance
    wanted = [r2_score(x, y) for x, y in zip(a[varied], b[varied])]
    np.testing.assert_allclose(metrics.r2_score(a, b)[varied], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e6])
def test_a_constant_truth_gives_one_for_itself_and_zero_for_another(value):
    constant = np.full((2, 30), value)
    assert metrics.r2_score(constant, constant + [[0.0], [1.0]]).tolist() == [1, 0]


def test_one_gene_has_no_r2():
    assert np.isnan(metrics.r2_score([[1.0, np.nan]], [[1.0, 2.0]])).all()
