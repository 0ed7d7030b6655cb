"""Validation profiles of the inverse task: means of cells that were held out, and sums of such means."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.models.inverse.drawn import Drawn, Shares, multi_hot

_IN_A_SUM = 3  # means: one condition, another, minus the control


def held_profiles(data: InverseData, n: int, shares: Shares, *, random_state: int) -> Drawn | None:
    """Return ``n`` profiles of validation cells, None where none is perturbed.

    A measured condition is the mean of some of its cells. A pair is the sum of two such means less that of as many
    control cells; the noise of three means together is that of a third of the cells of one.
    """
    rng = np.random.default_rng(random_state)
    side = data.take(data.is_val)
    cells = {int(one): np.flatnonzero(side.condition == one) for one in np.unique(side.condition)}
    control = cells.pop(side.control, np.zeros(0, np.int64))
    if not cells:
        return None
    labels = multi_hot(side)
    alone = [one for one in cells if labels[one].sum() == 1 == len(side.conditions[one].parts)]
    several = len(alone) > 1 and len(control) > 0
    is_double, is_control = shares.kinds(n, rng, doubles=several, controls=len(control) > 0)
    wanted = shares.numbers_of_cells(n, rng)
    x = np.empty((n, side.x.shape[1]), np.float32)
    y, n_cells = np.zeros((n, labels.shape[1]), np.float32), np.empty(n, np.int64)
    for row in range(n):
        chosen = _chosen(list(cells), alone, is_double[row], is_control[row], rng)
        groups = [cells[one] for one in chosen] + [control] * (len(chosen) != 1)
        x[row], n_cells[row] = _sum_of_means(side, groups, int(wanted[row]), rng)
        y[row] = labels[chosen].max(0, initial=0)
    return Drawn(x, y, n_cells)


def _chosen(
    every: list[int], alone: list[int], is_double: bool, is_control: bool, rng: np.random.Generator
) -> list[int]:
    """Return the conditions of a profile: none, one or two."""
    if is_control:
        return []
    if is_double:
        return [int(one) for one in rng.choice(alone, 2, replace=False)]
    return [int(rng.choice(every))]


def _sum_of_means(
    side: InverseData, groups: list[NDArray[np.int64]], n: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], int]:
    """Return the mean of one group, or of two less the last, and the number of cells with as much noise."""
    share = _IN_A_SUM if len(groups) > 1 else 1
    n = max(1, min(n, *(len(cells) // share for cells in groups)))
    means = [side.x[rng.choice(cells, min(share * n, len(cells)), replace=False)].mean(0) for cells in groups]
    return (means[0] + means[1] - means[2] if len(groups) > 1 else means[0]), n
