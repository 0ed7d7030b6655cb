"""How much of a target's expression is left in the cells that were perturbed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba.data.statistics import group_means

MEASURED = "measured"
NOT_MEASURABLE = "not measurable"
NOT_MEASURED = "not measured"
TOO_FEW = "too few cells"
NO_CONTROL = "no control cells"
CONTROL_ROW = "control"


@dataclass(frozen=True)
class _Expression:
    """Targets among the measured genes: means and errors in groups (groups × targets) and in control cells."""

    place: dict[str, int]
    mean: NDArray[np.float64]
    error: NDArray[np.float64]
    n_cells: NDArray[np.int64]
    control_mean: NDArray[np.float64]
    control_error: NDArray[np.float64]
    control_umi: NDArray[np.float64]
    n_control: int


def target_left(
    counts: Any,
    genes: pd.Index,
    targets: Sequence[Sequence[str]],
    groups: NDArray[np.integer],
    control: NDArray[np.bool_],
    *,
    min_umi: float,
) -> pd.DataFrame:
    """Compare the targets of each group of cells with control cells, after scaling cells to the median library.

    Parameters
    ----------
    counts
        Cells × genes, raw.
    genes
        Names of the genes.
    targets
        Targets of each group; none for a control.
    groups
        Group of each cell, -1 for none.
    control
        Which cells are control cells.
    min_umi
        UMIs per control cell below which the ratio says nothing.

    Returns
    -------
    A row per group: ``n_cells``; ``target``, the one that changed least where there are several; ``target_control``,
    UMIs per control cell; ``target_left``, mean expression over that of control cells; ``target_left_se``, its
    standard error by the delta method; ``status``. The ratio is given where it is ``"not measurable"`` too.
    """
    measured = [name for name in dict.fromkeys(name for some in targets for name in some) if name in genes]
    expression = _average(counts, genes, measured, groups, len(targets), control)
    rows = [_row(expression, group, some, min_umi) for group, some in enumerate(targets)]
    columns = ["n_cells", "target", "target_control", "target_left", "target_left_se", "status"]
    return pd.DataFrame(rows, columns=columns)


def _average(
    counts: Any,
    genes: pd.Index,
    measured: list[str],
    groups: NDArray[np.integer],
    n_groups: int,
    control: NDArray[np.bool_],
) -> _Expression:
    raw = sp.csr_matrix(counts[:, genes.get_indexer(measured)], dtype=np.float64)
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    middle = np.median(total[total > 0]) if (total > 0).any() else 1.0
    factor = np.divide(middle, total, out=np.zeros_like(total), where=total > 0)
    scaled = sp.csr_matrix(sp.diags(factor) @ raw)
    mean, error, n_cells = group_means(scaled, groups, n_groups)
    in_control = np.where(control, 0, -1)
    control_mean, control_error, n_control = group_means(scaled, in_control, 1)
    umi, _, _ = group_means(raw, in_control, 1)
    place = {name: number for number, name in enumerate(measured)}
    return _Expression(place, mean, error, n_cells, control_mean[0], control_error[0], umi[0], int(n_control[0]))


def _row(expression: _Expression, group: int, targets: Sequence[str], min_umi: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "n_cells": int(expression.n_cells[group]),
        "target": "+".join(targets),
        "target_control": np.nan,
        "target_left": np.nan,
        "target_left_se": np.nan,
        "status": _why_not(expression, group, targets),
    }
    if row["status"]:
        return row
    places = {name: expression.place[name] for name in targets if name in expression.place}
    loud = {name: place for name, place in places.items() if expression.control_umi[place] >= min_umi}
    ratios = {name: _ratio(expression, group, place) for name, place in (loud or places).items()}
    least = min(ratios, key=lambda name: _change(ratios[name][0]))
    left, error = ratios[least]
    return row | {
        "target": least,
        "target_control": float(expression.control_umi[places[least]]),
        "target_left": left,
        "target_left_se": error,
        "status": MEASURED if loud else NOT_MEASURABLE,
    }


def _why_not(expression: _Expression, group: int, targets: Sequence[str]) -> str:
    """Return why there is no ratio for a group, or nothing."""
    if not targets:
        return CONTROL_ROW
    if not any(name in expression.place for name in targets):
        return NOT_MEASURED
    if not expression.n_control:
        return NO_CONTROL
    return TOO_FEW if min(expression.n_cells[group], expression.n_control) < 2 else ""


def _change(ratio: float) -> float:
    return abs(float(np.log(max(ratio, 1e-9)))) if np.isfinite(ratio) else np.inf


def _ratio(expression: _Expression, group: int, place: int) -> tuple[float, float]:
    """Return a ratio of means and its standard error; a mean of zero has the error of a single UMI."""
    base, umi = expression.control_mean[place], expression.control_umi[place]
    if base == 0:
        return np.nan, np.nan
    mean, error = expression.mean[group, place], expression.error[group, place]
    if mean == 0:
        error = base / umi / expression.n_cells[group]
    ratio = float(mean / base)
    return ratio, float(np.hypot(error, ratio * expression.control_error[place]) / base)
