"""What a model reads: numbers per cell, numbers per condition, or the function that makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scperturbmamba._checks import as_names, check_finite, did_you_mean
from scperturbmamba.data.held_out import HeldOut

InputMaker = Callable[[AnnData], Any]


@dataclass(frozen=True)
class Input:
    """What a model reads: numbers per cell or per condition, and the function that made them, if any."""

    name: str
    cells: Any = None
    conditions: pd.DataFrame | None = None
    make: InputMaker | None = None


def read_inputs(adata: AnnData, held: HeldOut, inputs: Any) -> list[Input]:
    """Read the argument ``inputs``.

    Raises
    ------
    KeyError
        A name is neither in ``obsm`` nor in ``obs``.
    TypeError
        It is of none of the kinds that can be read.
    ValueError
        Numbers are missing, or are neither a row per cell nor a row per condition.
    """
    if inputs is None:
        return []
    if isinstance(inputs, pd.DataFrame):
        return [shape_input(adata, held, "inputs", inputs)]
    if callable(inputs):
        name = getattr(inputs, "__name__", "inputs")
        return [shape_input(adata, held, name, inputs(adata.copy()), make=inputs)]
    if isinstance(inputs, str) or (isinstance(inputs, Sequence) and all(isinstance(name, str) for name in inputs)):
        return [shape_input(adata, held, name, _slot(adata, name)) for name in as_names(inputs)]
    msg = (
        "`inputs` must be the name of an obsm or obs entry (or several), a DataFrame with a row per condition, or a "
        f"function of adata; found {type(inputs).__name__}. An array per cell goes in as `adata.obsm[name]`."
    )
    raise TypeError(msg)


def _slot(adata: AnnData, name: str) -> Any:
    if name in adata.obsm:
        values = adata.obsm[name]
        return values.to_numpy(np.float64) if isinstance(values, pd.DataFrame) else values
    if name not in adata.obs:
        names = [*adata.obsm, *adata.obs]
        msg = (
            f"`inputs` names {name!r}, which is neither in `adata.obsm` nor in `adata.obs`.{did_you_mean(name, names)}"
        )
        raise KeyError(msg)
    column = adata.obs[name]
    if not pd.api.types.is_numeric_dtype(column):
        codes = pd.factorize(column, use_na_sentinel=False)[0]
        return sp.csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), codes)))
    values = column.to_numpy(np.float64)
    known = np.isfinite(values)
    return np.where(known, values, values[known].mean() if known.any() else 0.0)


def shape_input(adata: AnnData, held: HeldOut, name: str, values: Any, *, make: InputMaker | None = None) -> Input:
    """Check what was read or made, and tell numbers per cell from numbers per condition."""
    if isinstance(values, pd.DataFrame):
        if not values.index.equals(adata.obs_names):
            return Input(name, conditions=_per_condition(held, name, values), make=make)
        values = values.to_numpy(np.float64)
    values = sp.csr_matrix(values) if sp.issparse(values) else np.asarray(values, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[0] != adata.n_obs:
        msg = (
            f"{name!r} must have a row per cell, ({adata.n_obs}, columns), or be a DataFrame with a row per "
            f"condition; found shape {values.shape}."
        )
        raise ValueError(msg)
    check_finite(values[np.flatnonzero(held.side != "")], what=f"the inputs {name!r}")
    return Input(name, cells=values, make=make)


def _per_condition(held: HeldOut, name: str, table: pd.DataFrame) -> pd.DataFrame:
    known = table[table.index.isin(held.names)].astype(np.float64)
    if not len(known) or known.index.has_duplicates:
        msg = (
            f"{name!r} must have one row for each condition, such as {held.names[:3]}; found {len(table)} rows "
            f'{[str(label) for label in table.index[:3]]}. Index it by the labels of `obs["perturbation"]`.'
        )
        raise ValueError(msg)
    check_finite(known.to_numpy(), what=f"the inputs {name!r}")
    return known
