"""Measured effects to draw beside predictions, from cells or from profiles."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_column, check_key, check_log_normalised, did_you_mean
from scperturbmamba.data.control_groups import control_groups
from scperturbmamba.data.effect_table import read_effects
from scperturbmamba.data.profiles import NO_CONTEXT, effect_profiles, group_rows
from scperturbmamba.data.responses import EFFECT

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Measured effects, a row per condition and context.

    Attributes
    ----------
    rows
        ``label``, ``context``, ``seen`` (the row was in training; None where nothing says so).
    delta, se
        (rows × genes): effect and its standard error, NaN where there is none.
    """

    rows: pd.DataFrame
    delta: Values
    se: Values


def predicted_rows(predicted: AnnData) -> pd.DataFrame:
    """Return ``label``, ``context`` and ``seen`` of predictions; of profiles nothing says what was seen."""
    check_key(predicted, "layers", _keys.DELTA, made_by="spm.tl.predict")
    check_key(predicted, "obs", _keys.PERTURBATION, made_by="spm.tl.predict")
    obs = predicted.obs
    context = obs["context"].astype(str).to_numpy() if "context" in obs else NO_CONTEXT
    seen = obs["seen"].astype(object).to_numpy() if "seen" in obs else None
    return pd.DataFrame({"label": obs[_keys.PERTURBATION].astype(str).to_numpy(), "context": context, "seen": seen})


def contexts_of(rows: pd.DataFrame) -> list[str]:
    """Return the contexts of some rows as they come, or by rising number where all are numbers."""
    found = pd.Series(rows["context"].unique(), dtype=object)
    numbers = pd.to_numeric(found, errors="coerce")
    return list(found if numbers.isna().any() else found.iloc[np.argsort(numbers, kind="stable")])


def context_column(predicted: AnnData) -> str | None:
    """Return the column that the training told contexts apart by."""
    return _params(predicted).get("context")


def check_genes(adata: AnnData, genes: Sequence[str], argument: str) -> None:
    """Refuse a gene that is not there, with the nearest names."""
    for gene in genes:
        if gene not in adata.var_names:
            msg = f"`{argument}` has no gene {gene!r}.{did_you_mean(gene, adata.var_names)}"
            raise KeyError(msg)


def measured_beside(
    predicted: AnnData, measured: AnnData, *, genes: Sequence[str], labels: Collection[str]
) -> Measured:
    """Return the measured effects of some labels on some genes, in the contexts that the predictor knows.

    Cells are averaged and compared with their matched controls, as in ``pp.pseudobulk``; the rows of its result are
    taken as they are.

    Raises
    ------
    KeyError
        A gene, the labels or the context column are not there.
    """
    check_key(measured, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    check_genes(measured, genes, "measured")
    column = context_column(predicted)
    if column is not None:
        check_column(measured, column, argument="context")
    wanted = measured.obs[_keys.PERTURBATION].isin([*labels, _keys.CONTROL]).to_numpy()
    part = measured[wanted, list(genes)].to_memory()
    rows, delta, se = _read(part, column, is_table=_params(predicted).get("response") == EFFECT)
    told = predicted_rows(predicted)
    if column is None:  # one context, whatever it is called
        rows = rows.assign(context=told["context"].iloc[0])
    rows = rows.assign(seen=_seen(rows, told, _in_training(part, column, _params(predicted).get("split"))))
    keep = rows["label"].isin(list(labels)).to_numpy()
    return Measured(rows[keep].reset_index(drop=True), delta[keep], se[keep])


def _read(part: AnnData, column: str | None, *, is_table: bool) -> tuple[pd.DataFrame, Values, Values]:
    """Return rows, effects and their standard errors: of profiles, of a table of effects, or of cells."""
    if _keys.DELTA in part.layers:
        label = part.obs[_keys.PERTURBATION].astype(str)
        context = NO_CONTEXT if column is None else part.obs[column].astype(str)
        delta = np.asarray(part.layers[_keys.DELTA], np.float64)
        se = np.asarray(part.layers[_keys.SE], np.float64) if _keys.SE in part.layers else np.full_like(delta, np.nan)
        return pd.DataFrame({"label": label, "context": context}), delta, se
    if is_table:
        found = read_effects(part, context=column)
        delta = np.where(found.weight > 0, found.delta, np.nan).astype(np.float64)
        return found.rows, delta, np.full_like(delta, np.nan)
    check_log_normalised(part)
    rows, group = group_rows(part, context=column)
    profiles = effect_profiles(part.X, rows, group, control_groups(part))
    return rows, profiles.delta.astype(np.float64), profiles.se.astype(np.float64)


def _in_training(part: AnnData, column: str | None, split: str | None) -> dict[Any, bool]:
    """Return for each label and context whether cells of it are on the training side; nothing without a split."""
    if split is None or split not in part.obs:
        return {}
    training = (part.obs[split] == _keys.TRAIN).to_numpy()
    keys = [part.obs[_keys.PERTURBATION].astype(str).to_numpy()]
    keys.append(np.full(part.n_obs, NO_CONTEXT) if column is None else part.obs[column].astype(str).to_numpy())
    found: dict[Any, bool] = pd.Series(training).groupby(keys).any().to_dict()
    return found


def _seen(rows: pd.DataFrame, told: pd.DataFrame, trained: dict[Any, bool]) -> list[bool | None]:
    """Tell of each row whether it was in training: as the prediction says, or else the split."""
    known = {key: bool(seen) for *key, seen in told.itertuples(index=False) if seen is not None for key in [tuple(key)]}
    return [known.get(key, trained.get(key)) for key in zip(rows["label"], rows["context"])]


def _params(predicted: AnnData) -> dict[str, Any]:
    return dict(predicted.uns.get(_keys.PREDICTOR, {}).get(_keys.PARAMS, {}))
