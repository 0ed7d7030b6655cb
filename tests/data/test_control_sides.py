import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scperturbmamba.data.control_sides import matched_sides

SIDES = ("train", "val", "test")


def divide(groups, side, is_control, level=None, seed=0):
    groups = np.array(groups, np.int64)
    level = np.zeros(len(groups), np.int64) if level is None else np.array(level, np.int64)
    side = np.array([one or np.nan for one in side], dtype=object)
    is_control = np.array(is_control, bool)
    found, n_few = matched_sides(
        groups, level, side, is_control, test_size=0.2, val_size=0.1, rng=np.random.default_rng(seed)
    )
    full = np.full(len(groups), "", dtype="<U5")
    full[is_control] = found
    return full, n_few


cells = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", *SIDES])), min_size=1, max_size=80)


@settings(deadline=None)
@given(cells.filter(lambda some: any(side == "train" for _, side in some)), st.integers(0, 99))
def test_controls_go_where_their_treated_cells_are(some, seed):
    """A cell without a side is a control."""
    groups, side = (np.array(one) for one in zip(*some))
    is_control = side == ""
    found, n_few = divide(groups, side, is_control, seed=seed)
    few = 0
    for group in np.unique(groups):
        own = found[is_control & (groups == group)]
        wanted = set(side[~is_control & (groups == group)])
        if not wanted or not len(own):
            continue
        assert set(own) <= wanted
        if len(own) >= len(wanted):
            assert set(own) == wanted
        else:
            few += 1
            assert len(set(own)) == len(own)
    assert n_few == few


def test_controls_are_shared_out_in_proportion_to_the_treated_cells():
    side = ["train"] * 60 + ["test"] * 30 + ["val"] * 10 + [""] * 103
    found, _ = divide([0] * len(side), side, [not one for one in side])
    assert {name: int((found == name).sum()) for name in SIDES} == {"train": 61, "test": 31, "val": 11}


def test_controls_without_treated_cells_are_divided_by_the_shares():
    found, _ = divide([0, 1, 2, *([3] * 20)], ["train", "val", "test", *([""] * 20)], [False] * 3 + [True] * 20)
    assert {name: int((found == name).sum()) for name in SIDES} == {"train": 14, "test": 4, "val": 2}


def test_a_context_that_is_held_out_keeps_controls_for_training():
    side = ["train", "val", "test", "test", *([""] * 8)]
    level = [0, 0, 1, 1, *([0] * 4), *([1] * 4)]
    groups = [0, 0, 1, 1, *([0] * 4), *([1] * 4)]
    found, _ = divide(groups, side, [False] * 4 + [True] * 8, level)
    assert sorted(found[8:]) == ["test", "test", "train", "train"]


@pytest.mark.parametrize("seed", range(3))
def test_single_controls_of_several_groups_are_spread_over_the_sides(seed):
    groups = [0, 0, 1, 1, 0, 1]
    found, n_few = divide(groups, ["train", "test", "train", "test", "", ""], [False] * 4 + [True] * 2, seed=seed)
    assert sorted(found[4:]) == ["test", "train"]
    assert n_few == 2
