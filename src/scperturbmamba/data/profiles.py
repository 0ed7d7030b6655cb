"""Profiles: a row per condition and context, with the effect against the matched control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_column
from scperturbmamba.data.statistics import group_means

NO_CONTEXT = "all"


@dataclass(frozen=True)
class Profiles:
    """Mean expression of groups of cells and their effects.

    Attributes
    ----------
    mean, delta, se
        Rows × genes, float32, scale of X: mean over cells; minus the control of the same context; standard error of
        delta, control noise included.
    control, control_se
        Contexts × genes, float32: mean of the control cells, and its standard error.
    n_cells
        Cells per row.
    """

    mean: NDArray[np.float32]
    delta: NDArray[np.float32]
    se: NDArray[np.float32]
    control: NDArray[np.float32]
    control_se: NDArray[np.float32]
    n_cells: NDArray[np.int64]


def group_rows(adata: AnnData, *, context: str | None) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the rows (``label``, ``context``; the control first) and the row of each cell, -1 without a label."""
    labels = adata.obs[_keys.PERTURBATION].astype(object)
    if context is None:
        level = pd.Series(NO_CONTEXT, index=adata.obs_names)
    else:
        check_column(adata, context, argument="context")
        level = adata.obs[context].astype(object).where(adata.obs[context].notna(), np.nan)
    cells = pd.DataFrame({"label": labels.to_numpy(), "context": level.to_numpy()})
    rows = cells.dropna().drop_duplicates()
    rows = rows.assign(treated=rows["label"] != _keys.CONTROL).sort_values(["treated", "label", "context"])
    rows = rows.drop(columns="treated").astype(str)
    place = pd.MultiIndex.from_frame(rows).get_indexer(pd.MultiIndex.from_frame(cells.astype(str)))
    place[cells.isna().any(axis=1).to_numpy()] = -1
    names = rows["label"] if context is None else rows["label"] + " | " + rows["context"]
    return rows.set_index(pd.Index(names, name=None)), place.astype(np.int64)


def effect_profiles(matrix: Any, rows: pd.DataFrame, group: NDArray[np.int64]) -> Profiles:
    """Average the cells of each row and subtract the control row of the same context.

    Raises
    ------
    ValueError
        A context has treated cells and no control cells.
    """
    mean, se, n_cells = group_means(matrix, group, len(rows))
    is_control = (rows["label"] == _keys.CONTROL).to_numpy()
    own = control_rows(rows)
    delta = mean - mean[own]
    error = np.sqrt(np.square(se) + np.square(se[own]))
    error[is_control] = se[is_control]
    return Profiles(
        mean=mean.astype(np.float32),
        delta=delta.astype(np.float32),
        se=error.astype(np.float32),
        control=mean[is_control].astype(np.float32),
        control_se=se[is_control].astype(np.float32),
        n_cells=n_cells,
    )


def control_rows(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the place of the control row that matches each row.

    Raises
    ------
    ValueError
        A context has no control cells.
    """
    is_control = (rows["label"] == _keys.CONTROL).to_numpy()
    place = {context: row for row, context in enumerate(rows["context"]) if is_control[row]}
    without = sorted(set(rows["context"]) - set(place))
    if without:
        where = f" in each context; found none in {without}. Leave those out" if place else "; found none. Bring some"
        msg = (
            f"expected control cells{where}, or name the control label: "
            '`spm.pp.perturbation_labels(adata, column, control="...")`.'
        )
        raise ValueError(msg)
    return rows["context"].map(place).to_numpy(dtype=np.int64)
