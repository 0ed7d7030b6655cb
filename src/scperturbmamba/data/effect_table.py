"""A table of effects as a bundle: log fold changes or calls per perturbation and gene, with gaps and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_in_memory, check_key, check_unique_genes
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.covariates import Covariates
from scperturbmamba.data.doses import Doses
from scperturbmamba.data.feature_tables import read_features
from scperturbmamba.data.modelled_genes import modelled_genes
from scperturbmamba.data.profiles import group_rows
from scperturbmamba.data.screen_kinds import with_kinds
from scperturbmamba.data.statistics import group_sums

WEIGHT = "weight"


@dataclass(frozen=True)
class Effects:
    """Measured effects, a row per condition and context.

    Attributes
    ----------
    rows
        ``label`` and ``context``.
    delta
        (rows × genes), float32, 0 where nothing is known.
    weight
        (rows × genes), float32, 0 where nothing is known.
    n
        (rows,): rows of the table behind each.
    """

    rows: pd.DataFrame
    delta: NDArray[np.float32]
    weight: NDArray[np.float32]
    n: NDArray[np.int64]


def read_effects(adata: AnnData, *, context: str | None) -> Effects:
    """Average the rows of each treated condition, each number by its weight; control rows are left out.

    Raises
    ------
    ValueError
        ``X`` holds infinite numbers, or a weight is negative or no number.
    """
    rows, group = group_rows(adata, context=context)
    treated = np.flatnonzero((rows["label"] != _keys.CONTROL).to_numpy())
    renumber = np.full(len(rows) + 1, -1)
    renumber[treated] = np.arange(len(treated))
    group = renumber[group]
    values, weight = _values(adata), _weights(adata)
    known = np.isfinite(values)
    weight = np.where(known, weight, 0.0)
    total = group_sums(weight, group, len(treated))
    product = group_sums(weight * np.where(known, values, 0.0), group, len(treated))
    delta = np.divide(product, total, out=np.zeros_like(total), where=total > 0)
    n = np.bincount(group[group >= 0], minlength=len(treated))
    return Effects(rows.iloc[treated], delta.astype(np.float32), total.astype(np.float32), n)


def effect_bundle(adata: AnnData, *, split: str, context: str | None, features: list[str] | None) -> Bundle:
    """Read the training and validation sides of a table of effects; no control is needed.

    A table that was never split is all training.

    Raises
    ------
    KeyError
        A slot is missing.
    ValueError
        There is no training condition, or a number is infinite.
    """
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    check_unique_genes(adata)
    check_in_memory(adata, function="effect_bundle")
    modelled = modelled_genes(adata)
    train, val = (
        read_effects(adata[_on_side(adata, split, side)][:, modelled], context=context)
        for side in (_keys.TRAIN, _keys.VAL)
    )
    if not len(train.rows):
        msg = "expected at least one training condition; found none. Run `spm.pp.split_conditions`."
        raise ValueError(msg)
    contexts = tuple(sorted(set(train.rows["context"])))
    keep = val.rows["context"].isin(contexts).to_numpy()
    rows = pd.concat([train.rows, val.rows[keep]])
    delta = np.vstack([train.delta, val.delta[keep]])
    weight = np.vstack([train.weight, val.weight[keep]])
    return Bundle(
        genes=tuple(map(str, adata.var_names[modelled])),
        conditions=tuple(with_kinds(adata, rows["label"])),
        context=rows["context"].map({name: number for number, name in enumerate(contexts)}).to_numpy(np.int64),
        contexts=contexts,
        delta=delta,
        se=np.full_like(delta, np.nan),
        n_cells=np.concatenate([train.n, val.n[keep]]),
        is_val=np.arange(len(rows)) >= len(train.rows),
        control=np.zeros((len(contexts), int(modelled.sum())), np.float32),
        covariates=Covariates((), np.zeros((len(rows), 0), np.float32), np.zeros(0, np.float32)),
        features=read_features(adata, features, modelled),
        weight=None if (weight == 1).all() else weight,
        doses=Doses.of(adata),
    )


def _on_side(adata: AnnData, split: str, side: str) -> NDArray[np.bool_]:
    if split == _keys.SPLIT and split not in adata.obs:
        return np.full(adata.n_obs, side == _keys.TRAIN)
    check_key(adata, "obs", split, made_by="spm.pp.split_conditions")
    return np.asarray(adata.obs[split] == side, bool)


def _values(adata: AnnData) -> NDArray[np.float64]:
    values = _dense(adata.X)
    if np.isinf(values).any():
        msg = f"`adata.X` holds {int(np.isinf(values).sum())} infinite effects; expected numbers, or NaN for a gap."
        raise ValueError(msg)
    return values


def _weights(adata: AnnData) -> NDArray[np.float64]:
    if WEIGHT not in adata.layers:
        return np.ones(adata.shape)
    weight = _dense(adata.layers[WEIGHT])
    if not (np.isfinite(weight) & (weight >= 0)).all():
        msg = '`adata.layers["weight"]` must hold numbers that are not negative; give a gap the weight 0.'
        raise ValueError(msg)
    return weight


def _dense(matrix: Any) -> NDArray[np.float64]:
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix, dtype=np.float64)
