"""Give each cell the first reason to drop it, and add the reasons up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scperturbmamba import _keys

KEPT = "kept"
MULTIPLET = "multiplet"
FEW_CELLS = "few cells of the condition"

Limits = dict[str, float | None]


@dataclass(frozen=True)
class Cells:
    """What was done to each cell: label (NaN without one), control or not, number of targets."""

    labels: pd.Series
    is_control: NDArray[np.bool_]
    n_targets: NDArray[np.int64]


def drop_reasons(
    metrics: pd.DataFrame, cells: Cells, limits: Limits, *, max_targets: int, min_cells: int
) -> NDArray[np.object_]:
    """Return the first reason that holds for each cell, ``"kept"`` where none does."""
    n_genes = metrics[_keys.N_GENES].to_numpy()
    flags = {
        "no counts": metrics[_keys.TOTAL_COUNTS].to_numpy() == 0,
        "few genes": n_genes < limits["min_genes"],
        "many genes": n_genes > limits["max_genes"],
        "mitochondrial": _high_mt(metrics, limits),
        "unlabelled": cells.labels.isna().to_numpy(),
        MULTIPLET: cells.n_targets > max_targets,
    }
    reasons = np.select(list(flags.values()), list(flags), default=KEPT).astype(object)
    passing = reasons == KEPT
    n_left = cells.labels.map(cells.labels[passing].value_counts()).astype(float).fillna(0).to_numpy()
    reasons[passing & ~cells.is_control & (n_left < min_cells)] = FEW_CELLS
    return reasons


def _high_mt(metrics: pd.DataFrame, limits: Limits) -> NDArray[np.bool_]:
    if _keys.PCT_MT not in metrics:
        return np.zeros(len(metrics), dtype=bool)
    return metrics[_keys.PCT_MT].to_numpy() > limits["max_pct_mt"]


def rules(limits: Limits, max_targets: int, min_cells: int) -> dict[str, str]:
    """Say each rule in words, in the order in which they are asked."""
    mt = limits["max_pct_mt"]
    return {
        "no counts": "no count in any gene",
        "few genes": f"fewer than {limits['min_genes']} genes",
        "many genes": f"more than {limits['max_genes']} genes",
        "mitochondrial": "no such gene measured" if mt is None else f"more than {mt:.3g} % mitochondrial",
        "unlabelled": "no label, or guides that do not decide",
        MULTIPLET: f"more than {max_targets} target{'s' if max_targets > 1 else ''}",
        FEW_CELLS: f"fewer than {min_cells} cells left",
    }


def waterfall(reasons: NDArray[np.object_], words: dict[str, str]) -> pd.DataFrame:
    """Return how many cells each rule drops and how many it leaves, in order."""
    dropped = np.array([int((reasons == reason).sum()) for reason in words])
    columns = {"rule": list(words.values()), "n_dropped": dropped, "n_left": len(reasons) - dropped.cumsum()}
    return pd.DataFrame(columns, index=pd.Index(list(words), dtype=object))


def check_some_left(table: pd.DataFrame) -> None:
    """Refuse to drop every cell, saying what would drop them."""
    if table["n_left"].iloc[-1] == 0:
        lost = ", ".join(f"{row.n_dropped} {row.Index}" for row in table.itertuples() if row.n_dropped)
        msg = f"expected cells that pass; every one would be dropped ({lost}). Loosen the limits or check the labels."
        raise ValueError(msg)
