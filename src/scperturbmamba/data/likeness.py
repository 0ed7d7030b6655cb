"""Whether numbers for conditions were made from the cells of those conditions.

Numbers that have not seen the cells know at best what the condition does, not which cells were drawn. So their squared
correlation with any direction of the measured means cannot exceed the share of the variance of that direction which
is no sampling noise: the ceiling. What follows the means closer than that has seen the cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from scperturbmamba.data.condition_means import ConditionMeans

EXACT: Final = 0.999  # R² of a map
_FEWEST_ROWS = 8  # for a map of two or more parameters per column
_FEWEST_NUMBERS = 4  # that must be equal
_FEWEST_COLUMNS = 0.02  # share of columns that must be alike, where each is compared with its own only
_CLOSE = 0.8  # R² below which noise is too ill known to speak of a copy
_CHANCE = 1e-4  # of calling one table a copy that is none

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Likeness:
    """How far numbers for conditions are a function of the means of the conditions' own cells.

    Attributes
    ----------
    source
        Which means.
    n_equal
        Held-out rows that equal their own mean.
    n_columns
        Columns that follow the means exactly, or closer than numbers can that have not seen the cells.
    r2, ceiling
        Of the column that follows best: R² of an affine map, each condition predicted from the others, and what it
        could be at most.
    """

    source: str
    n_equal: int = 0
    n_columns: int = 0
    r2: float = float("-inf")
    ceiling: float = 1.0


def most_alike(given: _Floats, own: Iterable[ConditionMeans], is_test: NDArray[np.bool_]) -> Likeness:
    """Return the likeness to the means that the numbers follow best.

    Parameters
    ----------
    given
        Conditions × columns: the numbers.
    own
        Means of the cells of the same conditions.
    is_test
        (conditions,): held out.
    """
    found = [likeness(given, means, is_test) for means in own]
    return max(found, key=lambda one: (one.n_equal, one.n_columns, one.r2), default=Likeness(""))


def likeness(given: _Floats, own: ConditionMeans, is_test: NDArray[np.bool_]) -> Likeness:
    """Compare row by row where the widths are the same; then try an affine map of all columns, and column by column.

    A map has fewer parameters than half the rows (means are reduced to their components for that), and is judged on
    rows that it was not fitted to, over all rows and over the held-out ones alone: it must hold for both.
    """
    same_width = given.shape[1] == own.means.shape[1]
    n_equal = _equal_rows(given, own.means, is_test) if same_width else 0
    found = [Likeness(own.name, n_equal)]
    if len(given) >= _FEWEST_ROWS and is_test.any():
        if own.within.ndim == 2:
            found.append(_judged(found[0], given, is_test, *_any_map(given, own), fewest=1))
        if same_width:
            fewest = max(2, ceil(_FEWEST_COLUMNS * given.shape[1]))
            found.append(_judged(found[0], given, is_test, *_column_by_column(given, own), fewest=fewest))
    return max(found, key=lambda one: (one.n_columns, one.r2))


def _judged(
    base: Likeness, given: _Floats, is_test: NDArray[np.bool_], left: _Floats, ceiling: _Floats, *, fewest: int
) -> Likeness:
    """Count the columns that follow the means too closely, over all rows and over the held-out ones."""
    r2, on_test = _r2(given, left), _r2(given, left, is_test)
    too_close = _beyond(r2, ceiling, len(given)) & (r2 > _CLOSE) & (on_test > ceiling)
    too_close |= np.minimum(r2, on_test) > EXACT
    too_close &= too_close.sum() >= fewest
    best = max(range(len(r2)), key=lambda column: (too_close[column], r2[column]))
    return replace(base, n_columns=int(too_close.sum()), r2=float(r2[best]), ceiling=float(ceiling[best]))


def most_parameters(n_rows: int) -> int:
    """Return how many columns a map may have, so that it has at most half as many parameters as rows."""
    return max(1, n_rows // 2 - 1)


def left_out_r2(given: _Floats, others: _Floats) -> _Floats:
    """Return (columns,): R² of an affine map of other numbers of the same rows, each row predicted from the others."""
    return _r2(given, _fit(given, others)[0])


def _equal_rows(given: _Floats, means: _Floats, is_test: NDArray[np.bool_]) -> int:
    """Return how many held-out rows equal their own mean, up to rounding; 0 where that could be chance."""
    own_change = np.linalg.norm(means - means.mean(axis=0), axis=1)
    apart = np.linalg.norm(given - means, axis=1)
    equal = is_test & (own_change > 0) & (apart <= 1e-3 * own_change + 1e-6 * np.linalg.norm(means, axis=1))
    n_equal = int(equal.sum())
    return n_equal if n_equal * given.shape[1] >= _FEWEST_NUMBERS else 0


def _any_map(given: _Floats, own: ConditionMeans) -> tuple[_Floats, _Floats]:
    """Return residuals of each row from an affine map fitted to the others, and the ceiling of each column."""
    left, slope = _fit(given, own.means)
    noise = np.einsum("ij,ik,kj->j", slope, own.within, slope) * np.mean(1 / own.n_cells)
    return left, _ceiling(noise, np.var(own.means @ slope, axis=0, ddof=1), len(given))


def _fit(given: _Floats, means: _Floats) -> tuple[_Floats, _Floats]:
    """Return residuals of each row from an affine map that was fitted to the other rows, and the slopes of the map."""
    rows, size, columns = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    kept = np.flatnonzero(size[: most_parameters(len(given))] > 1e-9 * max(size.max(initial=0), 1e-300))
    basis = np.column_stack([np.full(len(given), len(given) ** -0.5), rows[:, kept]])
    weight = basis.T @ given
    free = 1 - np.square(basis).sum(axis=1)
    left = (given - basis @ weight) / np.maximum(free, 1e-9)[:, None]
    return left, columns[kept].T @ (weight[1:] / size[kept][:, None])


def _column_by_column(given: _Floats, own: ConditionMeans) -> tuple[_Floats, _Floats]:
    """Return residuals of each number from a line through the same column of the means, fitted to the other rows."""
    x, y = own.means - own.means.mean(axis=0), given - given.mean(axis=0)
    square = np.maximum(np.square(x).sum(axis=0), 1e-300)
    left = y - x * ((x * y).sum(axis=0) / square)
    free = 1 - 1 / len(x) - np.square(x) / square
    within = np.diag(own.within) if own.within.ndim == 2 else own.within
    return left / np.maximum(free, 1e-9), _ceiling(within * np.mean(1 / own.n_cells), np.var(x, axis=0, ddof=1), len(x))


def _ceiling(noise: _Floats, total: _Floats, n_rows: int) -> _Floats:
    """Return the share of a variance over rows that is no sampling noise, 0 to 1: its upper limit of two errors."""
    shrink = np.exp(-2 * np.sqrt(2 / (n_rows - 1)))
    return np.clip(1 - shrink * noise / np.maximum(total, 1e-300), 0, 1)


def _beyond(r2: _Floats, ceiling: _Floats, n_rows: int) -> NDArray[np.bool_]:
    """Tell which R² are above their ceiling by more than chance (Fisher's z, Bonferroni over columns)."""
    found, most = (np.arctanh(np.sqrt(np.clip(one, 0, 1 - 1e-12))) for one in (r2, ceiling))
    return (found - most) * np.sqrt(n_rows - 3) > norm.isf(_CHANCE / max(1, len(r2)))


def _r2(given: _Floats, left_out: _Floats, rows: NDArray[np.bool_] | slice = slice(None)) -> _Floats:
    """Return (columns,): R² over some rows; minus infinity for a column that does not vary there."""
    total = np.square(given - given.mean(axis=0))[rows].sum(axis=0)
    varies = total > 1e-12 * np.maximum(np.square(given).sum(axis=0), 1e-300)
    r2 = np.full(given.shape[1], -np.inf)
    r2[varies] = 1 - np.square(left_out[rows]).sum(axis=0)[varies] / total[varies]
    return r2
