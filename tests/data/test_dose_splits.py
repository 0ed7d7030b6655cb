import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.dose_splits import by_dose, by_pair
from scperturbmamba.data.splits import SIDES, Shares


def doses_of(**doses):
    return [Condition.parse(f"{name}@{dose}") for name, some in doses.items() for dose in some]


def split(conditions, which="middle", test=1.0, val=0.1, seed=0):
    return by_dose(conditions, Shares(test, val), which, np.random.default_rng(seed))


def on(sides, name):
    return sorted(one.label for one, side in sides.items() if side == name)


SCREEN = doses_of(a=(1, 3, 10), b=(0.1, 1, 10, 100), c=(1, 10), d=(5,), e=(1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    ("which", "tested"),
    [("middle", ["a@3", "b@1", "e@3"]), ("highest", ["a@10", "b@100", "e@5"]), ("lowest", ["a@1", "b@0.1", "e@1"])],
)
def test_one_dose_of_each_drug_with_three_or_more_is_tested(which, tested):
    assert on(split(SCREEN, which), "test") == tested


def test_a_share_of_the_drugs_may_be_tested():
    assert len(on(split(SCREEN, test=0.5), "test")) == 2


drugs = st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.integers(1, 9), min_size=1, max_size=6), min_size=1)


@settings(deadline=None)
@given(
    drugs,
    st.sampled_from(["middle", "highest", "lowest"]),
    st.floats(0.05, 1),
    st.floats(0.02, 0.5),
    st.integers(0, 99),
)
def test_every_held_out_dose_is_of_a_drug_that_is_seen_at_another_dose(doses, which, test, val, seed):
    conditions = doses_of(**doses)
    if max(map(len, doses.values())) < 3:
        with pytest.raises(ValueError, match="at least 3 doses; found at most"):
            split(conditions, which, test, val, seed)
        return
    sides = split(conditions, which, test, val, seed)
    assert set(sides) == set(conditions) and set(sides.values()) == set(SIDES)
    seen = {one.names[0]: [other.parts[0].dose for other, side in sides.items()
                           if side == "train" and other.names == one.names] for one in conditions}  # fmt: skip
    for one, side in sides.items():
        if side != "train":
            assert seen[one.names[0]]
        if side == "test" and which == "middle":
            others = [other.parts[0].dose for other in conditions if other.names == one.names]
            assert min(others) < one.parts[0].dose < max(others)
    assert split(conditions, which, test, val, seed) == sides


def test_a_combination_with_a_held_out_dose_is_held_out_with_it():
    combinations = [Condition.parse(one) for one in ("TP53+a@3", "TP53+a@10", "TP53", "a@3+d@5")]
    assert on(split([*SCREEN, *combinations]), "test") == ["TP53+a@3", "a@3", "a@3+d@5", "b@1", "e@3"]


@pytest.mark.parametrize("which", ["second", "['middle', 'highest']"])
def test_a_place_that_is_not_there_is_refused(which):
    with pytest.raises(ValueError, match=r"one of \['middle', 'highest', 'lowest'\]"):
        split(SCREEN, which)


grids = st.sets(st.tuples(st.sampled_from("ABCDEFG"), st.sampled_from("xyz")), min_size=1)


@settings(deadline=None)
@given(grids, st.floats(0.05, 0.6), st.floats(0.05, 0.5), st.integers(0, 99))
def test_of_a_held_out_pair_condition_and_context_are_both_trained_on_elsewhere(pairs, test, val, seed):
    pairs = sorted(pairs)
    try:
        sides = by_pair(pairs, Shares(test, val), np.random.default_rng(seed))
    except ValueError as error:
        assert "Take the scheme 'perturbation'" in str(error)
        return
    assert sorted(sides) == pairs and set(sides.values()) == set(SIDES)
    train = [pair for pair, side in sides.items() if side == "train"]
    for label, level in pairs:
        assert any(one == label for one, _ in train)
        assert any(other == level for _, other in train)
    assert by_pair(pairs, Shares(test, val), np.random.default_rng(seed)) == sides


def test_the_shares_of_a_full_grid_are_exact():
    pairs = [(label, level) for label in "ABCDEFGHIJ" for level in "vwxyz"]
    sides = list(by_pair(pairs, Shares(0.2, 0.1), np.random.default_rng(0)).values())
    assert {name: sides.count(name) for name in SIDES} == {"test": 10, "val": 4, "train": 36}


def test_conditions_of_one_context_each_cannot_be_held_out_in_pairs():
    with pytest.raises(ValueError, match="of 4 pairs 0 can be held out"):
        by_pair([("A", "x"), ("B", "x"), ("C", "y"), ("D", "y")], Shares(0.2, 0.1), np.random.default_rng(0))
