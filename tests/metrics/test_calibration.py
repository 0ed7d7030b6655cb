import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scperturbmamba import metrics

LEVELS = (0.5, 0.8, 0.9)


def test_coverage_agrees_with_a_loop(sides):
    a, b = sides
    lower, upper = b - 1, b + 0.5
    for share, x, low, high in zip(metrics.coverage(a, lower, upper), a, lower, upper):
        assert share == pytest.approx(np.mean([one <= y <= two for y, one, two in zip(x, low, high)]))


def test_an_infinite_end_holds_everything_and_a_missing_one_is_left_out(sides):
    a, _ = sides
    assert metrics.coverage(a, np.full(50, -np.inf), np.full(50, np.inf)).tolist() == [1] * 6
    upper = np.full(a.shape, -9.0)
    upper[:, 10:], upper[0] = np.nan, np.nan
    found = metrics.coverage(a, upper - 1, upper)
    assert np.isnan(found[0]) and found[1:].tolist() == [0] * 5
    assert metrics.coverage([1.0, 1.0], [1.0, 2.0], [1.0, 3.0]).tolist() == [0.5]


def test_interval_coverage_agrees_with_scipy(sides):
    a, b = sides
    sd = np.random.default_rng(5).uniform(0.2, 3, a.shape)
    a[0, 3], b[1, 4], sd[2, 5] = np.nan, np.inf, np.nan
    known = np.isfinite(a) & np.isfinite(b) & np.isfinite(sd)
    inside = [np.abs(stats.norm.cdf(a[known], b[known], sd[known]) - 0.5) <= level / 2 for level in LEVELS]
    found = metrics.interval_coverage(a, b, sd)
    np.testing.assert_allclose(found, np.mean(inside, axis=1))
    assert metrics.calibration_error(a, b, sd) == pytest.approx(np.abs(found - LEVELS).mean())


def test_the_right_deviation_is_calibrated_and_any_other_is_worse():
    random = np.random.default_rng(0)
    predicted, sd = random.normal(size=(40, 500)), random.uniform(0.5, 2, 500)
    truth = predicted + sd * random.normal(size=(40, 500))
    np.testing.assert_allclose(metrics.interval_coverage(truth, predicted, sd), LEVELS, atol=0.015)
    right = metrics.calibration_error(truth, predicted, sd)
    assert right < 0.01
    assert all(metrics.calibration_error(truth, predicted, sd * factor) > 5 * right for factor in (0.5, 0.8, 1.3, 2))


def test_a_certain_prediction_covers_what_it_hits_and_nothing_else():
    assert metrics.interval_coverage([[1.0, 2.0]], [[1.0, 0.0]], [[0.0, 0.0]]).tolist() == [0.5] * 3


def test_without_an_entry_there_is_no_calibration():
    nothing = np.full((2, 3), np.nan)
    assert np.isnan(metrics.interval_coverage(nothing, nothing, nothing)).tolist() == [True] * 3
    assert np.isnan(metrics.calibration_error(nothing, nothing, nothing))
    assert np.isnan(metrics.expected_calibration_error([np.nan], [1]))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1), st.integers(1, 20))
def test_the_expected_calibration_error_agrees_with_a_loop(answers, n_bins):
    bins: dict[int, list[tuple[float, int]]] = {}
    for p, right in answers:
        bins.setdefault(min(int(p * n_bins), n_bins - 1), []).append((p, right))
    wanted = sum(abs(sum(right - p for p, right in one)) for one in bins.values()) / len(answers)
    assert metrics.expected_calibration_error(*zip(*answers), n_bins=n_bins) == pytest.approx(wanted, abs=1e-12)


def test_honest_probabilities_have_a_small_error():
    random = np.random.default_rng(0)
    p = random.random(20_000)
    right = random.random(20_000) < p
    assert metrics.expected_calibration_error(p, right) < 0.02
    assert metrics.expected_calibration_error(np.sqrt(p), right) > 0.1
    assert metrics.expected_calibration_error([0.0, 1.0], [0, 1]) == 0


def test_what_cannot_be_an_uncertainty_is_refused(sides):
    with pytest.raises(ValueError, match="`sd` must not be negative"):
        metrics.interval_coverage(*sides, np.full(50, -1.0))
    with pytest.raises(ValueError, match="`levels` must be a number between 0 and 1"):
        metrics.calibration_error(*sides, np.ones(50), levels=(90,))
    with pytest.raises(ValueError, match=r"`lower` must be \(6, 50\)"):
        metrics.coverage(sides[0], np.ones(6), np.ones(50))
    with pytest.raises(ValueError, match="probabilities must lie between 0 and 1; found -3.0 to 4.0"):
        metrics.expected_calibration_error([-3.0, 4.0], [0, 1])
    with pytest.raises(ValueError, match="`n_bins` must be a number above 0"):
        metrics.expected_calibration_error([0.5], [1], n_bins=0)
