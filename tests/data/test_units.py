import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scperturbmamba.data.units import ALL, draw_units, half_effects, split_halves


@given(
    st.lists(st.integers(-1, 3), min_size=1, max_size=40),
    st.lists(st.sampled_from([1, 2, 3, 7, ALL]), min_size=1, max_size=3, unique=True),
    st.integers(1, 5),
)
def test_units_are_means_of_cells_of_one_group_that_no_other_unit_has(groups, sizes, most):
    group = np.array(groups)
    x = np.eye(len(group), dtype=np.float32)  # a mean tells which cells it is of
    units = draw_units(x, group, sizes, most=most, rng=np.random.default_rng(0))
    for row, one, n, size in zip(units.x, units.group, units.n_cells, units.size):
        cells = np.flatnonzero(row)
        assert (group[cells] == one).all() and one >= 0
        assert len(cells) == n
        assert n == ((group == one).sum() if sizes[size] == ALL else sizes[size])
        np.testing.assert_allclose(row[cells], 1 / n, rtol=1e-6)
    for size in range(len(sizes)):
        of_size = units.x[units.size == size] > 0
        assert (of_size.sum(0) <= 1).all()
    for one in set(group[group >= 0]):
        assert ((units.group == one) & (units.size == 0)).sum() <= most


def test_cells_are_shared_out_anew_where_that_is_asked_for():
    x, group = np.eye(10, dtype=np.float32), np.zeros(10, np.int64)
    once, often = (draw_units(x, group, [4, ALL], most=20, rng=np.random.default_rng(0), repeats=n) for n in (1, 5))
    assert np.bincount(once.size).tolist() == [2, 1]
    assert np.bincount(often.size).tolist() == [10, 1]


def test_half_of_each_group_is_on_each_side():
    groups = np.repeat([0, 1, 2], [10, 7, 1])
    half = split_halves(groups, np.random.default_rng(0))
    assert [int(half[groups == one].sum()) for one in range(3)] == [5, 3, 0]


def test_halves_do_not_share_their_control():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 50)).astype(np.float32)  # nothing but noise
    group = np.repeat([0, 1, 2, 3], 100)
    one, other = half_effects(x, group, 0, rng)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(one[1:], other[1:])]
    assert abs(np.mean(r)) < 0.2  # a shared control would give about a half
