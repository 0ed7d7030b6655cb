"""What the user's columns say of a cell beside its label: dose, unit, and what was done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba.data.conditions import KINDS
from scperturbmamba.data.control_names import is_unlabelled_name
from scperturbmamba.data.dialects import kind_of, looks_like_column_of
from scperturbmamba.data.dose_units import KNOWN, find_unit
from scperturbmamba.data.words import words_of
from scperturbmamba.pp._columns import find_columns
from scperturbmamba.pp._label_columns import user_column, user_obs


@dataclass(frozen=True)
class Inputs:
    """A row per cell.

    Attributes
    ----------
    dose
        A number, NaN where there is none.
    unit, kind
        Words as the user wrote them; empty where there are none.
    """

    dose: pd.Series
    unit: pd.Series
    kind: pd.Series


def read_inputs(
    adata: AnnData, column: str, *, dose: str | None, dose_unit: str | None, perturbation_type: str | None
) -> Inputs:
    """Read the columns named, or find that of the kinds.

    Raises
    ------
    KeyError
        A column is not there.
    ValueError
        A dose is no number, infinite or negative, or a unit or kind is neither a column nor known.
    """
    units = _units(adata, dose_unit, dose)
    doses = pd.Series(np.nan, index=adata.obs_names) if dose is None else _doses(adata, dose)
    return Inputs(doses, units, _kinds(adata, perturbation_type, column))


def _doses(adata: AnnData, dose: str) -> pd.Series:
    source = user_column(adata, dose, argument="dose")
    values = pd.to_numeric(source, errors="coerce").astype(float)
    words = source[values.isna() & ~words_of(source).map(is_unlabelled_name).astype(bool)]
    if len(words) or (values < 0).any() or np.isinf(values).any():
        found = f"such as {words.iloc[0]!r}" if len(words) else f"from {values.min():g} to {values.max():g}"
        msg = (
            f"`obs[{dose!r}]` must hold doses, finite and not negative; found {found}. Give numbers, and NaN for none."
        )
        raise ValueError(msg)
    return values


def _units(adata: AnnData, dose_unit: str | None, dose: str | None) -> pd.Series:
    if dose_unit is not None and dose_unit in adata.obs and dose_unit != dose:
        words = words_of(user_column(adata, dose_unit, argument="dose_unit")).str.strip()
        return words.where(~words.map(is_unlabelled_name).astype(bool), "")
    if dose_unit is not None and not find_unit(dose_unit):
        msg = f"`dose_unit` must be a column of `adata.obs` or one of {list(KNOWN)}; found {dose_unit!r}."
        raise ValueError(msg)
    return pd.Series(dose_unit or "", index=adata.obs_names)


def _kinds(adata: AnnData, perturbation_type: str | None, column: str) -> pd.Series:
    if perturbation_type is None:
        named = find_columns(user_obs(adata))["perturbation_type"]
        words = None if named is None else _kind_words(adata, named)
        if words is not None and (words != "").any():
            return words
        return pd.Series(looks_like_column_of(column), index=adata.obs_names)
    if perturbation_type in adata.obs:
        return _kind_words(adata, perturbation_type)
    kind = perturbation_type if perturbation_type in KINDS else kind_of(perturbation_type)
    if not kind:
        msg = (
            f"`perturbation_type` must be one of {list(KINDS)} or a column of `adata.obs`; found {perturbation_type!r}."
        )
        raise ValueError(msg)
    return pd.Series(kind, index=adata.obs_names)


def _kind_words(adata: AnnData, column: str) -> pd.Series:
    return words_of(user_column(adata, column, argument="perturbation_type")).map(kind_of).astype(str)
