"""The user's columns of ``obs``, also after an earlier run has set them aside for our slots."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_column

SLOTS = (
    _keys.PERTURBATION, _keys.PERTURBATION_IDX, _keys.IS_CONTROL, _keys.N_PARTS, _keys.PERTURBATION_TYPE, _keys.DOSE,
    _keys.DOSE_UNIT,
)  # fmt: skip
KEPT = "kept"


def user_obs(adata: AnnData) -> pd.DataFrame:
    """Return ``obs`` as it was before the first run: our slots gone, the user's columns of these names back."""
    kept = _kept(adata)
    if kept is None:
        return adata.obs
    theirs = adata.obs.drop(columns=[slot for slot in SLOTS if slot in adata.obs])
    return theirs.rename(columns={column: slot for slot, column in kept.items()})


def user_column(adata: AnnData, column: str, *, argument: str) -> pd.Series:
    """Return a column of the user's; where they have none of that name, the slot of an earlier run."""
    check_column(adata, column, argument=argument)
    theirs = user_obs(adata)
    return theirs[column] if column in theirs else adata.obs[column]


def keep_columns(adata: AnnData) -> dict[str, str]:
    """Copy the user's columns that bear our slots' names, on the first run only; return where each is kept."""
    kept = _kept(adata)
    if kept is None:
        kept = {slot: _free_name(adata, slot) for slot in SLOTS if slot in adata.obs}
        for slot, column in kept.items():
            adata.obs[column] = adata.obs[slot]
    return kept


def _kept(adata: AnnData) -> dict[str, str] | None:
    """Return which column holds the user's own of each slot's name, None before the first run."""
    record = adata.uns.get(_keys.PERTURBATION)
    if not isinstance(record, Mapping) or KEPT not in record:
        return None
    return {slot: str(column) for slot, column in record[KEPT].items() if column in adata.obs}


def _free_name(adata: AnnData, slot: str) -> str:
    name, number = f"{slot}_original", 2
    while name in adata.obs:
        name, number = f"{slot}_original_{number}", number + 1
    return name
