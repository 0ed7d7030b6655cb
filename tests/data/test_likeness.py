from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scperturbmamba.data.condition_means import ConditionMeans
from scperturbmamba.data.likeness import left_out_r2, likeness, most_alike, most_parameters


def conditions(rng, *, n=40, width=8, cells=30, size=0.3):
    """Return the true means of some conditions, the cells drawn, and which are held out."""
    truth = size * rng.normal(size=(n, width)) * np.linspace(3, 1, width)
    group = np.repeat(np.arange(n), cells)
    return truth, truth[group] + rng.normal(size=(n * cells, width)), group, rng.permutation(n) < n // 4


def means_of(values, group):
    return ConditionMeans.of("cells", values, group, any_map=True)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), width=st.integers(1, 12))
def test_any_affine_map_of_the_means_is_found(seed, width):
    rng = np.random.default_rng(seed)
    _, values, group, is_test = conditions(rng)
    own = means_of(values, group)
    copied = likeness(own.means @ rng.normal(size=(8, width)) + rng.normal(size=width), own, is_test)
    assert copied.n_columns == width and copied.r2 > 0.9999
    assert likeness(own.means, own, is_test).n_equal == is_test.sum()


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), n=st.integers(8, 60), cells=st.integers(3, 200))
def test_not_even_the_truth_itself_is_called_a_copy(seed, n, cells):
    rng = np.random.default_rng(seed)
    truth, values, group, is_test = conditions(rng, n=n, cells=cells)
    own = means_of(values, group)
    for known in (truth, truth @ rng.normal(size=(8, 30)), np.tanh(truth), rng.normal(size=(n, 20)), np.eye(n)):
        found = likeness(known, own, is_test)
        assert found.n_equal == 0 and found.n_columns == 0


def test_a_copy_with_a_little_noise_is_closer_than_the_truth_can_be():
    rng = np.random.default_rng(0)
    truth, values, group, is_test = conditions(rng)
    own = means_of(values, group)
    noisy = own.means + 0.05 * own.means.std(axis=0) * rng.normal(size=own.means.shape)
    found = likeness(noisy, own, is_test)
    assert found.n_columns == 8 and found.n_equal == 0 and found.ceiling < found.r2 < 0.999
    assert likeness(truth, own, is_test).r2 < found.ceiling


def test_the_ceiling_is_the_share_of_variance_that_is_not_noise():
    rng = np.random.default_rng(0)
    truth, values, group, is_test = conditions(rng, n=4000, width=1, cells=10)
    found = likeness(truth, means_of(values, group), is_test)
    share = truth.var() / (truth.var() + 1 / 10)
    assert found.ceiling == pytest.approx(share, abs=0.03)
    assert found.r2 == pytest.approx(share, abs=0.03)


def test_copies_of_held_out_rows_alone_are_counted():
    rng = np.random.default_rng(0)
    _, values, group, is_test = conditions(rng)
    own = means_of(values, group)
    given = rng.normal(size=own.means.shape)
    places = np.flatnonzero(is_test)[:3]
    given[places] = own.means[places]
    assert likeness(given, own, is_test).n_equal == 3
    assert likeness(given, own, ~is_test).n_equal == 0


def test_with_few_rows_only_equality_is_looked_for():
    rng = np.random.default_rng(0)
    _, values, group, _ = conditions(rng, n=5)
    own, is_test = means_of(values, group), np.arange(5) < 2
    assert likeness(own.means, own, is_test).n_equal == 2
    assert likeness(own.means * 2, own, is_test).n_columns == 0


def test_wide_means_are_compared_column_by_column():
    rng = np.random.default_rng(0)
    _, values, group, is_test = conditions(rng, n=20, width=60)
    own = ConditionMeans.of("cells", values, group, any_map=False)
    assert own.within.shape == (60,)
    np.testing.assert_allclose(own.within, np.diag(means_of(values, group).within))
    scaled = own.means * rng.uniform(1, 3, 60) + rng.normal(size=60)
    assert likeness(scaled, own, is_test).n_columns == 60
    assert likeness(scaled[:, rng.permutation(60)], own, is_test).n_columns < 5


def test_the_best_of_several_means_is_named():
    rng = np.random.default_rng(0)
    _, values, group, is_test = conditions(rng)
    own = means_of(values, group)
    other = replace(own, name="other", means=rng.normal(size=own.means.shape))
    assert most_alike(own.means, [other, own], is_test).source == "cells"


def test_a_row_is_predicted_from_the_others():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 3))
    design = np.column_stack([np.ones(30), x])
    left = np.empty_like(y)
    for row in range(30):
        rest = np.arange(30) != row
        left[row] = y[row] - design[row] @ np.linalg.lstsq(design[rest], y[rest], rcond=None)[0]
    wanted = 1 - (left**2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    np.testing.assert_allclose(left_out_r2(y, x), wanted)
    assert most_parameters(30) == 14
