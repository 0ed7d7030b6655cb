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
from scperturbmamba.data.control_groups import SharedControls, are_several, match_rows
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
    control
        Contexts × genes, float32: mean of the control cells.
    n_cells
        Cells per row.
    own_se
        Rows × genes, float32: the part of ``se`` that is the row's own cells.
    shared
        Which control cells each row is compared with.
    is_matched
        Rows are compared with control groups, several of them in some context.
    n_unmatched
        Rows with cells that have no control cells of their group, and were compared with the context's.
    """

    mean: NDArray[np.float32]
    delta: NDArray[np.float32]
    se: NDArray[np.float32]
    control: NDArray[np.float32]
    n_cells: NDArray[np.int64]
    own_se: NDArray[np.float32]
    shared: SharedControls
    is_matched: bool = False
    n_unmatched: int = 0


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


def effect_profiles(
    matrix: Any, rows: pd.DataFrame, group: NDArray[np.int64], control_group: NDArray[np.int64] | None = None
) -> Profiles:
    """Average the cells of each row and subtract the control row of the same context.

    With ``control_group`` (cells,), the groups of ``spm.pp.match_controls``, the effect of a row is the mean over its
    cells of the cell minus the mean of the control cells of its group in the same context.

    Raises
    ------
    ValueError
        A context has treated cells and no control cells.
    """
    mean, se, n_cells = group_means(matrix, group, len(rows))
    is_control = (rows["label"] == _keys.CONTROL).to_numpy()
    own = control_rows(rows)
    reference, noise, own_se, n_unmatched = mean[own], np.square(se[own]), se, 0
    shared = SharedControls.of(own, is_control, n_cells)
    context = pd.factorize(rows["context"])[0]
    is_matched = control_group is not None and are_several(group, control_group, context)
    if control_group is not None and is_matched:
        moments = (mean, se, n_cells)
        found = match_rows(matrix, group, control_group, context=context, is_control=is_control, moments=moments)
        reference, noise, n_unmatched = found.mean, found.noise, found.n_unmatched
        own_se, shared = np.sqrt(found.own), found.shared
    delta = mean - reference
    error = np.sqrt(np.square(own_se) + noise)
    delta[is_control], error[is_control] = 0, se[is_control]
    return Profiles(
        mean=mean.astype(np.float32),
        delta=delta.astype(np.float32),
        se=error.astype(np.float32),
        control=mean[is_control].astype(np.float32),
        n_cells=n_cells,
        own_se=own_se.astype(np.float32),
        shared=shared,
        is_matched=is_matched,
        n_unmatched=n_unmatched,
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
