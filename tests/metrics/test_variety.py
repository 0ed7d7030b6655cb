import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scperturbmamba import metrics

whole = st.integers(-1000, 1000).map(lambda value: value / 100)


@settings(deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(2, 6), st.integers(3, 10)), elements=whole))
def test_similarity_agrees_with_all_pairs(rows):
    pairs = [metrics.pearson(x, y)[0] for i, x in enumerate(rows) for y in rows[:i]]
    assert metrics.similarity(rows) == pytest.approx(np.mean(pairs), abs=1e-9)


def test_rows_that_have_collapsed_are_at_one_and_unrelated_rows_at_zero():
    random = np.random.default_rng(0)
    assert metrics.similarity(np.outer([1, 2, 5], random.normal(size=40))) == pytest.approx(1)
    assert metrics.similarity(random.normal(size=(40, 2000))) == pytest.approx(0, abs=0.01)
    assert metrics.similarity(np.full((3, 9), 0.1)) == 0


def test_rows_and_genes_without_numbers_are_left_out(sides):
    rows, _ = sides
    wanted = metrics.similarity(np.delete(rows, 3, axis=0)[:, 1:])
    rows[3], rows[0, 0] = np.nan, np.inf
    assert metrics.similarity(rows) == pytest.approx(wanted)
    assert np.isnan(metrics.similarity(rows[:1])) and np.isnan(metrics.similarity(rows[3]))


def test_spread_agrees_with_numpy_and_grows_with_the_square_of_the_scale(sides):
    a, b = sides
    assert metrics.spread(a, b) == pytest.approx(b.var(axis=0).sum() / a.var(axis=0).sum())
    assert metrics.spread(a, 3 * a + 2) == pytest.approx(9)


def test_one_prediction_for_all_has_no_spread_and_a_truth_without_any_gives_nan(sides):
    a, b = sides
    assert metrics.spread(a, np.tile(b[0], (6, 1))) == pytest.approx(0, abs=1e-12)
    assert np.isnan(metrics.spread(a[:1], b[:1]))


def test_spread_is_taken_over_the_same_entries_on_both_sides(sides):
    a, b = sides
    known = np.random.default_rng(4).random(a.shape) < 0.7
    real, made = (np.nansum(np.nanvar(np.where(known, one, np.nan), axis=0)) for one in (a, b))
    assert metrics.spread(a, np.where(known, b, np.nan)) == pytest.approx(made / real)
