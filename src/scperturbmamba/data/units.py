"""Units of several cells: means of cells of one group, drawn without replacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.statistics import group_averages

ALL: Final = "all"
Size = int | str


@dataclass(frozen=True)
class Units:
    """Mean profiles of cells of one group each.

    Attributes
    ----------
    x
        (units × genes), float32: mean expression.
    group
        (units,): group that the cells are of.
    n_cells
        (units,): cells of each.
    size
        (units,): place in the sizes asked for.
    """

    x: NDArray[np.float32]
    group: NDArray[np.int64]
    n_cells: NDArray[np.int64]
    size: NDArray[np.int64]


def draw_units(
    x: NDArray[np.float32],
    group: NDArray[np.int64],
    sizes: Sequence[Size],
    *,
    most: int,
    rng: np.random.Generator,
    repeats: int = 1,
) -> Units:
    """Draw up to ``most`` units of each size from each group, of cells that no other unit of that size has.

    ``"all"`` is one unit of all cells; a group of fewer cells than a size has none of it. Cells of group -1 are in
    none. ``repeats`` shares the cells out anew so many times, where one time gives fewer than ``most``.
    """
    rows: list[tuple[int, int, NDArray[np.int64]]] = []
    for one in np.unique(group[group >= 0]):
        cells = np.flatnonzero(group == one)
        for place, size in enumerate(sizes):
            n = len(cells) if size == ALL else int(size)
            times = 1 if n >= len(cells) else repeats
            drawn = [part for _ in range(times) for part in _shared_out(rng.permutation(cells), n)]
            rows += [(int(one), place, part) for part in drawn[:most]]
    if not rows:
        nothing = np.zeros(0, np.int64)
        return Units(np.zeros((0, x.shape[1]), np.float32), nothing, nothing, nothing)
    means = [x[cells].mean(0, dtype=np.float64) for _, _, cells in rows]
    return Units(
        x=np.array(means, dtype=np.float32),
        group=np.array([one for one, _, _ in rows], dtype=np.int64),
        n_cells=np.array([len(cells) for _, _, cells in rows], dtype=np.int64),
        size=np.array([place for _, place, _ in rows], dtype=np.int64),
    )


def split_halves(groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return (cells,): 0 or 1, half of each group at random."""
    half = np.zeros(len(groups), np.int64)
    for one in np.unique(groups):
        cells = rng.permutation(np.flatnonzero(groups == one))
        half[cells[: len(cells) // 2]] = 1
    return half


def half_effects(
    x: NDArray[np.float32], group: NDArray[np.int64], control: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the effects (groups × genes) of two halves of the cells, each against its own half of the control."""
    half = split_halves(group, rng)
    effects = []
    for side in (0, 1):
        mean, _ = group_averages(x, np.where(half == side, group, -1), int(group.max(initial=0)) + 1)
        effects.append(mean - mean[control])
    return effects[0], effects[1]


def _shared_out(cells: NDArray[np.int64], n: int) -> list[NDArray[np.int64]]:
    """Return parts of n cells each; what is left over is in none."""
    return [cells[start : start + n] for start in range(0, len(cells) - n + 1, n)] if n > 0 else []
