import numpy as np
import pytest
from scipy import stats

from scperturbmamba import metrics


def test_the_baseline_is_zero_the_replicate_one_and_the_scale_is_straight():
    for baseline, replicate in ((4.0, 1.0), (0.1, 0.8)):
        ends = metrics.scaled([baseline, replicate, (baseline + replicate) / 2], baseline, replicate)
        np.testing.assert_allclose(ends, [0, 1, 0.5])
    assert float(metrics.scaled(3.0, 2.0, 4.0)) == 0.5


def test_ends_that_coincide_leave_no_scale():
    found = metrics.scaled([1.0, 2.0, np.nan], [1.0, 1.0, 0.0], [1.0, 3.0, 1.0])
    np.testing.assert_array_equal(found, [np.nan, 0.5, np.nan])


def test_the_interval_agrees_with_scipy():
    difference = np.random.default_rng(0).exponential(size=60) - 0.5
    mean, low, high = metrics.paired_bootstrap(difference, n_draws=9000)
    wanted = stats.bootstrap((difference,), np.mean, method="percentile", random_state=1).confidence_interval
    assert mean == pytest.approx(difference.mean())
    assert (low, high) == pytest.approx(wanted, abs=0.02)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = []
    for seed in range(200):
        _, low, high = metrics.paired_bootstrap(random.normal(1, 1, 40), n_draws=200, level=0.8, random_state=seed)
        held.append(low <= 1 <= high)
    assert np.mean(held) == pytest.approx(0.8, abs=0.08)


def test_a_seed_gives_the_same_interval_and_missing_differences_are_left_out():
    difference = np.random.default_rng(0).normal(size=30)
    found = metrics.paired_bootstrap(difference)
    assert metrics.paired_bootstrap([*difference, np.nan, np.inf]) == found
    assert metrics.paired_bootstrap(difference, random_state=1) != found
    assert np.isnan(metrics.paired_bootstrap([np.nan])).tolist() == [True] * 3


def test_draws_and_levels_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="`n_draws` must be a number above 0"):
        metrics.paired_bootstrap([1.0], n_draws=0)
    with pytest.raises(ValueError, match="`level` must be a number between 0 and 1"):
        metrics.paired_bootstrap([1.0], level=95)
