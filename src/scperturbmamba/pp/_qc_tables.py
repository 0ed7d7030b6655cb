"""The tables of quality control: a row per condition, per guide, per bin of a distribution."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.counts import Counts
from scperturbmamba.pp._knockdown import MEASURED, target_left
from scperturbmamba.pp._qc_limits import histogram
from scperturbmamba.pp._qc_reasons import FEW_CELLS, KEPT, Cells


def condition_table(
    genes: pd.Index, counts: Counts, cells: Cells, reasons: NDArray[np.object_], *, min_umi: float
) -> pd.DataFrame:
    """Return a row per condition; the knock-down is that of the cells that pass on their own account."""
    labels = cells.labels
    conditions = labels.cat.categories.astype(str)
    targets = [Condition.parse(label).names for label in conditions]
    passing = _passing(reasons)
    groups = np.where(passing, labels.cat.codes, -1)
    table = target_left(counts.matrix, genes, targets, groups, passing & cells.is_control, min_umi=min_umi)
    table.index = pd.Index(conditions, dtype=object)
    table.insert(0, "n_cells_before", labels.value_counts(sort=False).to_numpy())
    table["n_cells"] = labels[reasons == KEPT].value_counts(sort=False).to_numpy()
    return table


def guide_table(
    adata: AnnData, counts: Counts, cells: Cells, reasons: NDArray[np.object_], *, min_umi: float
) -> pd.DataFrame:
    """Return a row per guide, measured over the passing cells that carry no other."""
    guides = adata.uns[_keys.GUIDES]["table"]
    passing = _passing(reasons)
    alone = passing & (adata.obs[_keys.N_GUIDES] == 1).to_numpy()
    groups = np.where(alone, guides.index.get_indexer(adata.obs[_keys.GUIDE_IDENTITY].astype(object)), -1)
    targets = [() if target == _keys.CONTROL else (target,) for target in guides["target"]]
    control = passing & cells.is_control
    table = target_left(counts.matrix, adata.var_names, targets, groups, control, min_umi=min_umi)
    return table.set_index(guides.index)


def _passing(reasons: NDArray[np.object_]) -> NDArray[np.bool_]:
    return (reasons == KEPT) | (reasons == FEW_CELLS)


def knockdown_per_cell(labels: pd.Series, conditions: pd.DataFrame) -> NDArray[np.float64]:
    """Return the share of the target's expression that is lost in each cell's condition, where it is measurable."""
    lost = 1 - conditions["target_left"].where(conditions["status"] == MEASURED)
    return labels.astype(object).map(lost).to_numpy(dtype=float)


def distributions(metrics: pd.DataFrame, kept: NDArray[np.bool_]) -> pd.DataFrame:
    """Return histograms of the metrics, of all cells and of those kept."""
    scales = {_keys.TOTAL_COUNTS: "log", _keys.N_GENES: "whole"}
    tables = []
    for name in metrics.columns:
        bins = histogram(metrics[name].to_numpy(dtype=float), kept, scale=scales.get(name, "linear"))
        tables.append(pd.DataFrame({"metric": name, **bins}))
    table = pd.concat(tables, ignore_index=True)
    return table.set_index(table.index.astype(str))
