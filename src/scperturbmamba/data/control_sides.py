"""The side of each control cell where controls are matched: that of the treated cells it is compared with."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from scperturbmamba._keys import TEST, TRAIN, VAL
from scperturbmamba.data.splits import split_cells

_ORDER = (TRAIN, TEST, VAL)


def matched_sides(
    groups: NDArray[np.int64],
    level: NDArray[np.int64],
    side: NDArray[np.object_],
    is_control: NDArray[np.bool_],
    *,
    test_size: float,
    val_size: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.str_], int]:
    """Return the sides of the control cells, and how many groups have fewer of them than sides.

    The control cells of a group go to the sides on which it has treated cells, in proportion to these and at least one
    to each where there are enough. A context without treated training cells keeps control cells for training. Controls
    of groups without treated cells are divided by the shares.

    Parameters
    ----------
    groups, level, side, is_control
        (cells,): control group or -1, context, side of a treated cell, and whether it is a control.
    test_size, val_size
        Shares for controls without treated cells.
    rng
        Draws the cells.
    """
    found = np.full(len(groups), "", dtype="<U5")
    given: Counter[tuple[int, str]] = Counter()
    pair = np.where(groups >= 0, level * (groups.max(initial=0) + 1) + groups, -1)
    treated = {
        name: np.bincount(pair[(side == name) & ~is_control & (pair >= 0)], minlength=pair.max() + 1) for name in _ORDER
    }
    trained = set(level[(side == TRAIN) & ~is_control])
    n_few = 0
    for one in np.unique(pair[is_control & (pair >= 0)]):
        cells = rng.permutation(np.flatnonzero(is_control & (pair == one)))
        counts = {name: int(treated[name][one]) for name in _ORDER if treated[name][one]}
        place = int(level[cells[0]])
        if not counts:
            continue
        if place not in trained:
            counts[TRAIN] = sum(counts.values())
        names = sorted(counts, key=lambda name: (given[place, name], _ORDER.index(name)))
        drawn = _shared_out(len(cells), [counts[name] for name in names])
        found[cells] = np.repeat(names, drawn)
        given.update({(place, name): n for name, n in zip(names, drawn)})
        n_few += len(cells) < len(names)
    left = is_control & (found == "")
    found[left] = split_cells(level[left], test_size=test_size, val_size=val_size, rng=rng)
    return found[is_control], n_few


def _shared_out(n: int, weights: list[int]) -> list[int]:
    """Share n out by weight, at least one each; where there are too few, the first get one."""
    if n <= len(weights):
        return [int(number < n) for number in range(len(weights))]
    exact = (n - len(weights)) * np.array(weights) / sum(weights)
    shares = np.floor(exact).astype(int)
    order = np.argsort(shares - exact, kind="stable")
    shares[order[: n - len(weights) - shares.sum()]] += 1
    return [int(one) + 1 for one in shares]
