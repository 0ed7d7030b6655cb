"""Which measured cells a prediction is compared with."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.profiles import NO_CONTEXT, group_rows
from scperturbmamba.io._sides import cells_on_side, split_column


@dataclass(frozen=True)
class Pairing:
    """The cells of a screen that predictions are compared with, and the predictions that have some.

    Attributes
    ----------
    rows
        ``label`` and ``context`` of the groups of cells in the screen, the controls among them.
    cells
        Places of the cells in use: those of a predicted condition, and their controls.
    group
        (cells,): row of each.
    place
        (predicted rows,): row of each prediction, -1 where it was not measured.
    control
        (rows,): row of the control of the same context, -1 where there is none.
    """

    rows: pd.DataFrame
    cells: NDArray[np.int64]
    group: NDArray[np.int64]
    place: NDArray[np.int64]
    control: NDArray[np.int64]


def pair_up(predicted: AnnData, adata: AnnData, key: str | None) -> Pairing:
    """Find the cells of the test side, or of all where there is no split, that predictions are compared with.

    Raises
    ------
    KeyError
        ``key`` names no column.
    ValueError
        No predicted condition has cells there, or a context has no control cells.
    """
    params = predicted.uns.get(_keys.PREDICTOR, {}).get(_keys.PARAMS, {})
    column = split_column(adata, key, default=params.get("split", _keys.SPLIT))
    rows, group = group_rows(adata, context=params.get("context"))
    group = np.where(cells_on_side(adata, column, _keys.TEST), group, -1)
    where = f"on the side {_keys.TEST!r} of `obs[{column!r}]`" if column else "in `adata`"

    names = pd.MultiIndex.from_frame(rows[["label", "context"]])
    measured = np.isin(np.arange(len(rows)), group)
    place = _measured_or_not(names.get_indexer(_asked(predicted)), measured)
    treated = (predicted.obs[_keys.PERTURBATION] != _keys.CONTROL).to_numpy()
    _report_unmeasured(predicted.obs_names[treated & (place < 0)], int(treated.sum()), where)
    place[~treated] = -1
    own_control = names.get_indexer(pd.MultiIndex.from_arrays([[_keys.CONTROL] * len(rows), rows["context"]]))
    control = _measured_or_not(own_control, measured)
    used = np.unique(place[place >= 0])
    _check_controls(rows, used, control, where)

    cells = np.flatnonzero(np.isin(group, np.concatenate([used, control[used]])))
    return Pairing(rows, cells, group[cells], place, control)


def _asked(predicted: AnnData) -> pd.MultiIndex:
    labels = predicted.obs[_keys.PERTURBATION].astype(str)
    level = predicted.obs["context"].astype(str) if "context" in predicted.obs else [NO_CONTEXT] * len(labels)
    return pd.MultiIndex.from_arrays([labels, level])


def _measured_or_not(place: NDArray[np.intp], measured: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where((place >= 0) & measured[place], place, -1).astype(np.int64)


def _report_unmeasured(names: pd.Index, n_treated: int, where: str) -> None:
    """Say which predictions have nothing to be compared with; refuse if none has."""
    if len(names) == n_treated:
        msg = (
            f"expected predictions of conditions that have cells {where}; found none among {n_treated}, such as "
            f"{list(names[:3])}. Predict the held-out conditions, or name the column of the split: `key=`."
        )
        raise ValueError(msg)
    if len(names):
        text = f"{len(names)} of {n_treated} predictions have no cells {where} and are left out: {list(names[:5])}."
        warnings.warn(text, UserWarning, stacklevel=4)


def _check_controls(rows: pd.DataFrame, used: NDArray[np.int64], control: NDArray[np.int64], where: str) -> None:
    without = sorted(set(rows["context"].iloc[used[control[used] < 0]]))
    if without:
        msg = (
            f"expected control cells {where} in every context; found none in {without}. Divide them over the sides: "
            "`spm.pp.split_conditions(adata)`."
        )
        raise ValueError(msg)
