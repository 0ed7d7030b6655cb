"""Divide conditions and cells over train, val and test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from scperturbmamba._keys import TEST, TRAIN, VAL
from scperturbmamba.data.conditions import Condition, part_names

SIDES = (TRAIN, VAL, TEST)
Sides = dict[Condition, str]


@dataclass(frozen=True)
class Shares:
    """How much is held out.

    Attributes
    ----------
    test, val
        Share held out for the test, and share of the rest held out for validation.
    fold, n_folds
        Which fold is tested, where there are folds.
    """

    test: float
    val: float
    fold: int = 0
    n_folds: int = 5


def by_perturbation(conditions: Sequence[Condition], shares: Shares, rng: np.random.Generator) -> Sides:
    """Hold out genes with every condition that contains one, so that no part of a held-out condition is a leak.

    The test gets its share of the conditions, rounded up, or where combinations make that impossible as much below it
    as can be; at least the conditions of one gene.
    """
    n_test, n_val = _sizes(len(conditions), shares)
    test = _holding(conditions, _draw_parts(conditions, n_test, rng))
    rest = _without(conditions, test)
    return _named(conditions, test, _holding(rest, _draw_parts(rest, n_val, rng)))


def by_condition(conditions: Sequence[Condition], shares: Shares, rng: np.random.Generator) -> Sides:
    """Hold out conditions, each for itself: a part of a held-out combination may be seen alone."""
    n_test, n_val = _sizes(len(conditions), shares)
    order = _shuffled(conditions, rng)
    return _named(conditions, order[:n_test], order[n_test : n_test + n_val])


def by_fold(conditions: Sequence[Condition], shares: Shares, rng: np.random.Generator) -> Sides:
    """Hold out one of equal folds of the genes, with every condition that contains one of them."""
    names = np.array(part_names(conditions), dtype=object)
    if not 0 <= shares.fold < shares.n_folds or not 2 <= shares.n_folds <= len(names):
        msg = (
            f"`fold` must be (number, folds) with 0 <= number < folds and 2 to {len(names)} folds, for "
            f"{len(names)} perturbed genes; found ({shares.fold}, {shares.n_folds})."
        )
        raise ValueError(msg)
    folds = np.array_split(rng.permutation(names), shares.n_folds)
    test = _holding(conditions, set(folds[shares.fold]))
    rest = _without(conditions, test)
    n_val = _at_least_one(shares.val * len(rest))
    return _named(conditions, test, _holding(rest, _draw_parts(rest, n_val, rng)))


def by_simulation(conditions: Sequence[Condition], shares: Shares, rng: np.random.Generator) -> Sides:
    """Hold out as GEARS does: unseen single genes, and pairs of which none, one or both genes are seen.

    A share of the genes is unseen; every condition that contains one is tested, and the same share of the
    combinations of seen genes. The validation side is drawn from the rest in the same way.
    """
    test = _simulate(conditions, shares.test, rng)
    rest = _without(conditions, test)
    return _named(conditions, test, _simulate(rest, shares.val, rng))


def by_doubles(conditions: Sequence[Condition], shares: Shares, rng: np.random.Generator) -> Sides:
    """Hold out combinations only; every perturbation that stands alone is seen.

    Validation takes its share of the combinations that are left; without any, of singles, first of those that are in no
    combination.
    """
    doubles = [one for one in conditions if len(one.parts) > 1]
    if len(doubles) < 2:
        msg = (
            "the scheme 'doubles' needs at least two combinations, such as 'MYC+TP53'; found "
            f"{len(doubles)}. Take the scheme 'perturbation'."
        )
        raise ValueError(msg)
    order = _shuffled(doubles, rng)
    n_test = _at_least_one(shares.test * len(doubles))
    test, left = order[:n_test], order[n_test:]
    if not left:
        in_doubles = set(part_names(doubles))
        left = sorted(_shuffled(_without(conditions, test), rng), key=lambda one: bool(in_doubles & set(one.names)))
    return _named(conditions, test, left[: _at_least_one(shares.val * len(left))])


SCHEMES: Mapping[str, Callable[[Sequence[Condition], Shares, np.random.Generator], Sides]] = {
    "perturbation": by_perturbation,
    "condition": by_condition,
    "kfold": by_fold,
    "simulation": by_simulation,
    "doubles": by_doubles,
}


def hold_out(conditions: Sequence[Condition], share: float, rng: np.random.Generator) -> list[Condition]:
    """Return a share of the conditions, rounded up, that shares no part with what is left; at least one gene's."""
    return _holding(conditions, _draw_parts(conditions, _at_least_one(share * len(conditions)), rng))


def split_cells(
    groups: NDArray[np.integer], *, test_size: float, val_size: float, rng: np.random.Generator
) -> NDArray[np.str_]:
    """Return the side of each cell, divided at random inside each group; a group of fewer than three is all train."""
    side = np.full(len(groups), TRAIN, dtype="<U5")
    for group in np.unique(groups):
        cells = np.flatnonzero(groups == group)
        if len(cells) < 3:
            continue
        n_test, n_val = _sizes(len(cells), Shares(test_size, val_size))
        order = rng.permutation(cells)
        side[order[:n_test]] = TEST
        side[order[n_test : n_test + n_val]] = VAL
    return side


def _sizes(n: int, shares: Shares) -> tuple[int, int]:
    n_test = ceil(shares.test * n - 1e-9)
    n_val = ceil(shares.val * (n - n_test) - 1e-9)
    if n < 3 or n - n_test - n_val < 1:
        raise _too_few(n, shares)
    return n_test, n_val


def _too_few(n: int, shares: Shares) -> ValueError:
    msg = (
        f"expected at least one perturbation for each of train, val and test; found {n} perturbations in all "
        f"for test_size={shares.test:g} and val_size={shares.val:g}. Bring a screen with more, or lower the shares."
    )
    return ValueError(msg)


def _at_least_one(number: float) -> int:
    return max(1, ceil(number - 1e-9))


def _draw_parts(conditions: Sequence[Condition], wanted: int, rng: np.random.Generator) -> set[str]:
    """Return genes, drawn at random, that together are in ``wanted`` conditions, or as near below as the draw gets."""
    containing: dict[str, set[int]] = {}
    for place, condition in enumerate(conditions):
        for name in condition.names:
            containing.setdefault(name, set()).add(place)
    held: set[str] = set()
    touched: set[int] = set()
    names = sorted(containing)
    for name in rng.permutation(np.array(names, dtype=object)):
        if len(touched | containing[name]) <= wanted:
            held.add(name)
            touched |= containing[name]
        if len(touched) == wanted:
            break
    return held or set(sorted(names, key=lambda name: len(containing[name]))[:1])


def _simulate(conditions: Sequence[Condition], share: float, rng: np.random.Generator) -> list[Condition]:
    names = part_names(conditions)
    n_unseen = min(_at_least_one(share * len(names)), len(names))
    unseen = set(rng.permutation(np.array(names, dtype=object))[:n_unseen])
    held = _holding(conditions, unseen)
    seen_doubles = [one for one in _without(conditions, held) if len(one.parts) > 1]
    n_doubles = ceil(share * len(seen_doubles) - 1e-9)
    return held + _shuffled(seen_doubles, rng)[:n_doubles]


def _holding(conditions: Sequence[Condition], names: set[str]) -> list[Condition]:
    return [one for one in conditions if names & set(one.names)]


def _without(conditions: Sequence[Condition], some: Sequence[Condition]) -> list[Condition]:
    left_out = set(some)
    return [one for one in conditions if one not in left_out]


def _shuffled(conditions: Sequence[Condition], rng: np.random.Generator) -> list[Condition]:
    return [conditions[place] for place in rng.permutation(len(conditions))]


def _named(conditions: Sequence[Condition], test: Sequence[Condition], val: Sequence[Condition]) -> Sides:
    held, checked = set(test), set(val)
    sides = {one: TEST if one in held else VAL if one in checked else TRAIN for one in conditions}
    missing = [side for side in SIDES if side not in sides.values()]
    if missing:
        msg = (
            f"the split would leave {' and '.join(missing)} empty: the {len(conditions)} conditions share their parts "
            "too much, or are too few. Lower `test_size` or `val_size`, or take `scheme='condition'`."
        )
        raise ValueError(msg)
    return sides
