import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from scperturbmamba.data.twins import twins


def find(matrix, first, second):
    return twins(matrix, first, second, rng=np.random.default_rng(0)).tolist()


def sides(n, n_first):
    first = np.arange(n) < n_first
    return first, ~first


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), n_copies=st.integers(0, 5))
def test_exactly_the_copied_rows_are_found(seed, n_copies):
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(2, 0.1, (60, 40)).astype(np.float32)
    copied, source = 40 + rng.choice(20, n_copies, replace=False), rng.choice(40, n_copies, replace=False)
    counts[copied] = counts[source]
    wanted = sorted(zip(source.tolist(), copied.tolist()), key=lambda pair: pair[1])
    for matrix in (counts, sp.csr_matrix(counts), sp.csc_matrix(counts), sp.csr_matrix(counts.astype(np.float64))):
        assert find(matrix, *sides(60, 40)) == [list(pair) for pair in wanted]


def test_rows_that_are_stored_in_another_order_or_with_zeros_are_equal():
    rng = np.random.default_rng(0)
    row = rng.integers(1, 100, 30).astype(float)
    order = rng.permutation(30)
    indices = np.concatenate([np.arange(30), order, [30]])
    data = np.concatenate([row, row[order], [0.0]])
    matrix = sp.csr_matrix((data, indices, [0, 30, 61]), shape=(2, 40))
    filler = sp.csr_matrix(rng.integers(0, 100, (50, 40)).astype(float))
    stacked = sp.vstack([matrix, filler]).tocsr()
    before = stacked.data.copy(), stacked.indices.copy()
    assert find(stacked, *sides(52, 1)) == [[0, 1]]
    assert (stacked.data == before[0]).all() and (stacked.indices == before[1]).all()


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_rows_with_a_handful_of_counts_are_left_out(rate):
    counts = np.random.default_rng(0).poisson(rate, (400, 30)).astype(float)
    assert len({row.tobytes() for row in counts}) < 400
    assert find(counts, *sides(400, 200)) == []


def test_an_empty_side_has_no_twins():
    assert find(np.ones((4, 3)), np.ones(4, bool), np.zeros(4, bool)) == []
