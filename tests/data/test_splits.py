from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scperturbmamba.data.splits import SIDES, split_cells, split_labels

shares = st.floats(0.01, 0.6)


@settings(deadline=None)
@given(st.integers(3, 200), shares, shares, st.integers(0, 2**32))
def test_every_condition_lies_on_one_side_and_no_side_is_empty(n, test_size, val_size, seed):
    labels = [f"G{number}" for number in range(n)]
    try:
        side = split_labels(labels, test_size=test_size, val_size=val_size, rng=np.random.default_rng(seed))
    except ValueError as error:
        assert f"found {n} perturbations" in str(error)
        assert ceil(test_size * n) + ceil(val_size * (n - ceil(test_size * n))) >= n
        return
    assert sorted(side) == sorted(labels)
    sizes = {name: list(side.values()).count(name) for name in SIDES}
    assert min(sizes.values()) >= 1
    assert sizes["test"] - 1 <= test_size * n + 1e-6 and test_size * n <= sizes["test"] + 1e-6


@pytest.mark.parametrize(
    ("n", "test_size", "n_test"),
    [(87, 0.2, 18), (10, 0.2, 2), (100, 0.07, 7), (5, 0.2, 1), (3, 0.2, 1), (1000, 0.1, 100)],
)
def test_the_test_share_is_rounded_up_but_not_by_rounding_noise(n, test_size, n_test):
    labels = [f"G{number}" for number in range(n)]
    side = split_labels(labels, test_size=test_size, val_size=0.1, rng=np.random.default_rng(0))
    assert list(side.values()).count("test") == n_test


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_conditions_cannot_be_split(n):
    with pytest.raises(ValueError, match=f"found {n} perturbations.*Bring"):
        split_labels([f"G{number}" for number in range(n)], test_size=0.2, val_size=0.1, rng=np.random.default_rng(0))


def test_the_seed_decides():
    labels = [f"G{number}" for number in range(50)]
    one, again, other = (
        split_labels(labels, test_size=0.2, val_size=0.1, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one == again
    assert one != other


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=0, max_size=60), shares.filter(lambda s: s < 0.3), st.integers(0, 99))
def test_each_group_of_cells_is_divided_over_all_sides_or_kept_for_training(groups, test_size, seed):
    groups = np.array(groups, dtype=int)
    side = split_cells(groups, test_size=test_size, val_size=0.1, rng=np.random.default_rng(seed))
    for group in np.unique(groups):
        own = side[groups == group]
        assert set(own) == (set(SIDES) if len(own) >= 3 else {"train"})
