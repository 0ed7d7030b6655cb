"""Facts of every way to divide a screen."""

from math import ceil

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.splits import SCHEMES, SIDES, Shares, by_perturbation, hold_out, split_cells

RNG = np.random.default_rng(0)
shares = st.floats(0.01, 0.6)
singles = st.integers(3, 60)


@st.composite
def screens(draw):
    """Singles of some genes, and combinations of two or three of them or of others."""
    n = draw(st.integers(4, 30))
    genes = [f"G{number:02d}" for number in range(n)]
    some = draw(st.lists(st.sampled_from(genes), unique=True, min_size=2))
    more = draw(st.lists(st.lists(st.sampled_from(genes), min_size=2, max_size=3, unique=True), max_size=25))
    return sorted({Condition.of(*names) for names in [[gene] for gene in some] + more}, key=lambda one: one.label)


def side_of(conditions, scheme, seed=0, **options):
    return SCHEMES[scheme](conditions, Shares(**{"test": 0.2, "val": 0.1, **options}), np.random.default_rng(seed))


def on(sides, *names):
    return [one for one, side in sides.items() if side in names]


def names_of(conditions):
    return {name for one in conditions for name in one.names}


def genes(n):
    return [Condition.of(f"G{number:03d}") for number in range(n)]


@settings(deadline=None)
@given(screens(), st.sampled_from(sorted(SCHEMES)), shares, shares, st.integers(0, 2**32))
def test_every_condition_lies_on_one_side_no_side_is_empty_and_the_seed_decides(screen, scheme, test, val, seed):
    try:
        sides = side_of(screen, scheme, seed, test=test, val=val)
    except ValueError as error:
        assert any(word in str(error) for word in ("empty", "at least", "must be"))
        return
    assert sorted(sides, key=lambda one: one.label) == screen
    assert set(sides.values()) == set(SIDES)
    assert side_of(screen, scheme, seed, test=test, val=val) == sides


@settings(deadline=None)
@given(screens(), st.sampled_from(["perturbation", "kfold"]), st.floats(0.05, 0.5), st.integers(0, 999))
def test_no_part_that_is_held_out_is_seen_anywhere_in_training(screen, scheme, test, seed):
    try:
        sides = side_of(screen, scheme, seed, test=test)
    except ValueError:
        assume(False)
    seen, checked = names_of(on(sides, "train")), names_of(on(sides, "train", "val"))
    for condition in on(sides, "val"):
        assert set(condition.names) - seen
    for condition in on(sides, "test"):
        assert set(condition.names) - checked
    for condition in on(sides, "val", "test"):
        if len(condition.names) == 1:
            assert not set(condition.names) & seen


@settings(deadline=None)
@given(st.integers(3, 200), shares, shares, st.integers(0, 2**32))
def test_of_single_genes_the_shares_are_exact_and_rounded_up(n, test_size, val_size, seed):
    try:
        sides = list(side_of(genes(n), "perturbation", seed, test=test_size, val=val_size).values())
    except ValueError as error:
        assert f"found {n} perturbations" in str(error)
        assert ceil(test_size * n) + ceil(val_size * (n - ceil(test_size * n))) >= n
        return
    assert sides.count("test") - 1 <= test_size * n + 1e-6 and test_size * n <= sides.count("test") + 1e-6
    same = list(side_of(genes(n), "condition", seed, test=test_size, val=val_size).values())
    assert [sides.count(one) for one in SIDES] == [same.count(one) for one in SIDES]


@pytest.mark.parametrize(
    ("n", "test_size", "n_test"),
    [(87, 0.2, 18), (10, 0.2, 2), (100, 0.07, 7), (5, 0.2, 1), (3, 0.2, 1), (1000, 0.1, 100)],
)
def test_the_test_share_is_rounded_up_but_not_by_rounding_noise(n, test_size, n_test):
    assert len(on(side_of(genes(n), "perturbation", test=test_size), "test")) == n_test


@settings(deadline=None)
@given(screens(), st.floats(0.1, 0.5), st.integers(0, 99))
def test_the_default_holds_out_at_most_its_share_unless_one_gene_is_in_more(screen, test, seed):
    try:
        sides = side_of(screen, "perturbation", seed, test=test)
    except ValueError:
        assume(False)
    held = on(sides, "test")
    assert len(held) <= ceil(test * len(screen)) or any(
        all(name in one.names for one in held) for name in names_of(held)
    )


def test_every_gene_is_tested_in_exactly_one_fold():
    screen = [*genes(23), Condition.of("G001", "G002"), Condition.of("G003", "G022")]
    tested = [on(side_of(screen, "kfold", 7, fold=k), "test") for k in range(5)]
    alone = [one.names[0] for fold in tested for one in fold if len(one.names) == 1]
    assert sorted(alone) == sorted(one.label for one in genes(23))
    assert {len([one for one in fold if len(one.names) == 1]) for fold in tested} == {4, 5}


@pytest.mark.parametrize(("fold", "n_folds"), [(5, 5), (-1, 5), (0, 1), (0, 9)])
def test_a_fold_that_is_not_there_is_refused(fold, n_folds):
    with pytest.raises(ValueError, match=r"`fold` must be .*2 to 8 folds"):
        side_of(genes(8), "kfold", fold=fold, n_folds=n_folds)


def doubles_of(n):
    names = [f"G{number:03d}" for number in range(n)]
    return [Condition.of(a, b) for a, b in zip(names, names[1:] + names[:1])]


@settings(deadline=None)
@given(st.integers(8, 40), st.floats(0.1, 0.4), st.integers(0, 99))
def test_the_simulation_tests_unseen_genes_and_pairs_of_which_none_one_or_both_are_seen(n, share, seed):
    screen = sorted({*genes(n), *doubles_of(n)}, key=lambda one: one.label)
    sides = side_of(screen, "simulation", seed, test=share)
    unseen = names_of(one for one in on(sides, "test") if len(one.names) == 1)
    assert len(unseen) == ceil(share * n - 1e-9)
    assert all(side == "test" for one, side in sides.items() if unseen & set(one.names))
    of_seen = [one for one in screen if len(one.names) == 2 and not unseen & set(one.names)]
    assert sum(sides[one] == "test" for one in of_seen) == ceil(share * len(of_seen) - 1e-9)
    fresh = names_of(one for one in on(sides, "val") if len(one.names) == 1)
    assert fresh and not fresh & names_of(on(sides, "train"))


@pytest.mark.parametrize(("share", "n_test"), [(0.5, 10), (0.7, 14), (0.3, 6), (1.0, 20)])
def test_doubles_hold_out_combinations_only(share, n_test):
    screen = [*genes(30), *doubles_of(20)]
    sides = side_of(screen, "doubles", test=share)
    held = on(sides, "test")
    assert len(held) == n_test and all(len(one.names) == 2 for one in held)
    checked = on(sides, "val")
    if share < 1:
        assert all(len(one.names) == 2 for one in checked)
    else:  # what is validated is of no use to a pair
        assert len(checked) == 3 and not names_of(checked) & names_of(held)


def test_doubles_need_combinations():
    with pytest.raises(ValueError, match="at least two combinations.*found 0"):
        side_of(genes(9), "doubles")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_conditions_cannot_be_split(n):
    with pytest.raises(ValueError, match=f"found {n} perturbations.*Bring"):
        side_of(genes(n), "perturbation")


def test_a_screen_whose_pairs_all_share_a_gene_says_what_to_do():
    with pytest.raises(ValueError, match="share their parts.*scheme='condition'"):
        by_perturbation([Condition.of("A", "B"), Condition.of("A"), Condition.of("B")], Shares(0.3, 0.3), RNG)


def test_what_is_held_out_shares_no_part_with_what_is_left():
    screen = [*genes(20), *doubles_of(10)]
    held = hold_out(screen, 0.2, np.random.default_rng(0))
    alone = {one.names[0] for one in held if len(one.names) == 1}
    assert held and not alone & names_of(one for one in screen if one not in held)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=0, max_size=60), shares.filter(lambda s: s < 0.3), st.integers(0, 99))
def test_each_group_of_cells_is_divided_over_all_sides_or_kept_for_training(groups, test_size, seed):
    groups = np.array(groups, dtype=int)
    side = split_cells(groups, test_size=test_size, val_size=0.1, rng=np.random.default_rng(seed))
    for group in np.unique(groups):
        own = side[groups == group]
        assert set(own) == (set(SIDES) if len(own) >= 3 else {"train"})
