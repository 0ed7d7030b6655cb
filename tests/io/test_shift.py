import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scperturbmamba.io._shift import shift_to_mean

level = st.one_of(st.just(0.0), st.floats(0.0625, 8, width=32))
cells = st.tuples(st.integers(1, 30), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=level)
)


@given(cells, st.integers(0, 10_000))
def test_the_cells_have_the_mean_asked_for_and_none_is_negative(values, seed):
    mean = np.random.default_rng(seed).uniform(-1, 6, values.shape[1])
    moved = shift_to_mean(values, mean)
    assert moved.dtype == np.float32 and moved.min() >= 0
    np.testing.assert_allclose(moved.mean(0, dtype=np.float64), np.maximum(mean, 0), atol=1e-5)


@given(cells, st.integers(0, 10_000))
def test_one_number_per_gene_is_added_and_what_falls_below_zero_is_clipped(values, seed):
    mean = np.random.default_rng(seed).uniform(0.01, 6, values.shape[1])
    moved = shift_to_mean(values, mean)
    for old, new in zip(values.T, moved.T):
        shift = (new - old)[new > 0]
        assert np.ptp(shift) < 1e-4
        assert (old[new == 0] + shift[0] < 1e-4).all()


def test_a_mean_that_rises_is_plain_addition():
    values = np.array([[0, 1], [2, 3]], np.float32)
    np.testing.assert_allclose(shift_to_mean(values, np.array([1.5, 2.25])), values + [0.5, 0.25])


def test_where_clipping_would_lift_the_mean_the_others_fall_further():
    values = np.array([[0], [0], [0], [1]], np.float32)
    np.testing.assert_allclose(shift_to_mean(values, np.array([0.05]))[:, 0], [0, 0, 0, 0.2], atol=1e-7)
