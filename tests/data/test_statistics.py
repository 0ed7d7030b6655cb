import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scperturbmamba.data.statistics import group_averages, group_means, group_sums, indicator

STORAGE = {"dense": np.asarray, "csr": sp.csr_matrix, "csc": sp.csc_matrix, "array": sp.csr_array}
matrices = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, (n, 3), elements=st.floats(-50, 50, width=32)),
        arrays(np.int64, n, elements=st.integers(-1, 3)),
    )
)


@pytest.mark.parametrize("storage", STORAGE)
@settings(deadline=None)
@given(matrices)
def test_means_errors_and_sizes_agree_with_pandas(storage, drawn):
    matrix, groups = drawn
    mean, error, n = group_means(STORAGE[storage](matrix), groups, 5)

    by_group = pd.DataFrame(matrix).groupby(groups)
    places = range(5)
    np.testing.assert_array_equal(n, by_group.size().reindex(places, fill_value=0))
    np.testing.assert_allclose(mean, by_group.mean().reindex(places), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(error, by_group.sem().reindex(places), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("storage", STORAGE)
@settings(deadline=None)
@given(matrices)
def test_sums_agree_with_pandas_and_leave_out_the_group_minus_one(storage, drawn):
    matrix, groups = drawn
    wanted = pd.DataFrame(matrix)[groups >= 0].groupby(groups[groups >= 0]).sum().reindex(range(5), fill_value=0)
    np.testing.assert_allclose(group_sums(STORAGE[storage](matrix), groups, 5), wanted, atol=1e-9)


def test_a_lone_cell_has_a_mean_but_no_error_and_an_empty_group_has_neither():
    mean, error, n = group_means(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0, 2, 2]), 3)
    assert n.tolist() == [1, 0, 2]
    np.testing.assert_array_equal(mean, [[1, 2], [np.nan, np.nan], [4, 5]])
    np.testing.assert_array_equal(error, [[np.nan] * 2, [np.nan] * 2, [1, 1]])


@pytest.mark.parametrize("storage", STORAGE)
def test_squares_of_large_integer_counts_do_not_overflow(storage):
    counts = np.array([[100_000], [300_000]], dtype=np.int32)
    _, error, _ = group_means(STORAGE[storage](counts), np.zeros(2, dtype=int), 1)
    assert error[0, 0] == pytest.approx(100_000)


@pytest.mark.parametrize("storage", ["dense", "csr"])
def test_a_constant_float32_gene_has_no_error(storage):
    constant = np.full((50, 1), 12.3, dtype=np.float32)
    _, error, _ = group_means(STORAGE[storage](constant), np.zeros(50, dtype=int), 1)
    assert error[0, 0] < 1e-6


def test_the_indicator_has_one_row_per_cell_of_a_group():
    np.testing.assert_array_equal(indicator(np.array([1, -1, 0]), 2).toarray(), [[0, 0, 1], [1, 0, 0]])


def test_averages_are_the_means_without_their_error():
    rng = np.random.default_rng(0)
    matrix, groups = rng.normal(size=(20, 3)), rng.integers(-1, 3, 20)
    mean, n = group_averages(matrix, groups, 4)
    expected, _, cells = group_means(matrix, groups, 4)
    np.testing.assert_allclose(mean, expected)
    assert n.tolist() == cells.tolist()
    assert np.isnan(mean[3]).all()
