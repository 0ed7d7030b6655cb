"""Divide conditions and control cells over train, val and test."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from scperturbmamba._keys import TEST, TRAIN, VAL

SIDES = (TRAIN, VAL, TEST)


def split_labels(
    labels: Sequence[str], *, test_size: float, val_size: float, rng: np.random.Generator
) -> dict[str, str]:
    """Return the side of each condition: the test share rounded up, then the validation share of the rest rounded up.

    Raises
    ------
    ValueError
        A side would be empty.
    """
    n_test, n_val = _sizes(len(labels), test_size, val_size)
    order = rng.permutation(len(labels))
    sides = [TEST] * n_test + [VAL] * n_val + [TRAIN] * (len(labels) - n_test - n_val)
    return {labels[place]: side for place, side in zip(order, sides)}


def _sizes(n: int, test_size: float, val_size: float) -> tuple[int, int]:
    n_test = ceil(test_size * n - 1e-9)
    n_val = ceil(val_size * (n - n_test) - 1e-9)
    if n < 3 or n - n_test - n_val < 1:
        msg = (
            f"expected at least one perturbation for each of train, val and test; found {n} perturbations in all "
            f"for test_size={test_size:g} and val_size={val_size:g}. Bring a screen with more, or lower the shares."
        )
        raise ValueError(msg)
    return n_test, n_val


def split_cells(
    groups: NDArray[np.integer], *, test_size: float, val_size: float, rng: np.random.Generator
) -> NDArray[np.str_]:
    """Return the side of each cell, divided at random inside each group; a group of fewer than three is all train."""
    side = np.full(len(groups), TRAIN, dtype="<U5")
    for group in np.unique(groups):
        cells = np.flatnonzero(groups == group)
        if len(cells) < 3:
            continue
        n_test, n_val = _sizes(len(cells), test_size, val_size)
        order = rng.permutation(cells)
        side[order[:n_test]] = TEST
        side[order[n_test : n_test + n_val]] = VAL
    return side
