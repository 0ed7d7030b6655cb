import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from scperturbmamba.data.label_shares import follows_labels, neighbour_agreement, some_cells, within_shares


def slow_share(column, group, skip_zeros):
    chosen = column != 0 if skip_zeros else np.ones(len(column), bool)
    column, group = column[chosen], group[chosen]
    labels = np.unique(group)
    within = sum(np.sum((column[group == one] - column[group == one].mean()) ** 2) for one in labels)
    return within / (len(column) - len(labels)) / column.var(ddof=1)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n_labels=st.integers(2, 12), skip_zeros=st.booleans())
def test_the_share_is_that_of_its_definition_in_any_form(seed, n_labels, skip_zeros):
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(n_labels), rng.integers(0, n_labels, 150)])
    values = rng.poisson(2, (len(group), 4)) * rng.gamma(2, 1, (len(group), 4)) + group[:, None] * [0, 0.1, 1, 10]
    wanted = [slow_share(column, group, skip_zeros) for column in values.T]
    for one in (values, sp.csr_matrix(values)):
        np.testing.assert_allclose(within_shares(one, group, skip_zeros=skip_zeros), wanted, rtol=1e-8)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), offset=st.floats(-1e3, 1e3), scale=st.floats(1e-3, 1e3))
def test_what_the_label_decides_has_no_share_and_what_it_does_not_has_one(seed, offset, scale):
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(30), 40)
    decided = (rng.normal(size=30)[group] * scale + offset)[:, None]
    free = rng.normal(size=(1200, 1)) * scale + offset
    assert within_shares(decided, group)[0] < 1e-9
    assert 0.9 < within_shares(free, group)[0] < 1.1
    dropped = decided * (rng.random((1200, 1)) < 0.6)
    assert within_shares(dropped, group, skip_zeros=True)[0] < 1e-9


def test_a_constant_column_has_no_share():
    group = np.repeat([0, 1], 60)
    assert np.isnan(within_shares(np.full((120, 1), 3.7), group)).all()
    assert np.isnan(within_shares(sp.csr_matrix((120, 1)), group)).all()
    assert np.isnan(within_shares(np.eye(120)[:, :1], group, skip_zeros=True)).all()


def test_neighbours_agree_where_groups_are_apart_and_not_where_they_are_not():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(10), 30)
    apart = rng.normal(size=(10, 5))[group] * 20 + rng.normal(size=(300, 5))
    assert neighbour_agreement(apart, group) > 0.99
    assert neighbour_agreement(rng.normal(size=(300, 5)), group) < 0.2
    assert neighbour_agreement(sp.csr_matrix(apart), group) == neighbour_agreement(apart, group)
    assert np.isnan(neighbour_agreement(apart[:10], np.arange(10)))


def test_each_label_gives_at_most_forty_cells():
    group = np.repeat(np.arange(3), [100, 20, 60])
    chosen = some_cells(group, np.random.default_rng(0))
    assert len(set(chosen)) == len(chosen)
    assert np.bincount(group[chosen]).tolist() == [40, 20, 40]
    many = np.repeat(np.arange(200), 50)
    assert len(some_cells(many, np.random.default_rng(0))) == 2000


@pytest.mark.parametrize("size", [0.0, 0.5])
def test_only_what_follows_labels_is_beyond_chance(size):
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 30)
    far = []
    for _ in range(20):
        values = rng.normal(size=(1200, 6)) + size * rng.normal(size=(40, 6))[group]
        far.append(follows_labels(values, group, np.zeros(1200, int), rng=rng))
    assert max(far) < -6 if size else max(map(abs, far)) < 5


def test_labels_that_keep_to_their_stratum_do_not_follow_it():
    rng = np.random.default_rng(0)
    stratum = np.repeat([0, 1], 600)
    group = rng.integers(0, 20, 1200) + 20 * stratum
    values = rng.normal(size=(1200, 3)) + 3 * stratum[:, None]
    assert abs(follows_labels(values, group, stratum, rng=rng)) < 5
    assert follows_labels(values, group, np.zeros(1200, int), rng=rng) < -20
