"""Tidy tables out of slots; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_key

__all__ = ["effects", "history", "scores"]


def effects(
    adata: AnnData, perturbations: str | Sequence[str] | None = None, *, layer: str = _keys.DELTA
) -> pd.DataFrame:
    """Return predicted or measured effects as a table, strongest first within a condition.

    Parameters
    ----------
    adata
        A result of ``tl.predict`` or ``pp.pseudobulk``.
    perturbations
        Conditions to keep; the default is all.
    layer
        Layer with the effects, natural log units.

    Returns
    -------
    DataFrame
        ``perturbation``, ``gene``, ``delta``.

    Raises
    ------
    KeyError
        The layer, or a condition asked for, is not there.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> table = spm.get.effects(spm.pp.pseudobulk(adata), "control")
    >>> list(table.columns), len(table)
    (['perturbation', 'gene', 'delta'], 40)
    """
    check_key(adata, "layers", layer, made_by="spm.tl.predict")
    names = adata.obs_names if perturbations is None else pd.Index(as_names(perturbations))
    rows = adata.obs_names.get_indexer(names)
    if (rows < 0).any():
        missing = list(names[rows < 0][:3])
        msg = f"`adata.obs_names` has no {missing}. Found: {list(adata.obs_names[:10])}."
        raise KeyError(msg)
    values = np.asarray(adata.layers[layer])[rows]
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    return pd.DataFrame(
        {
            "perturbation": np.repeat(np.asarray(names), adata.n_vars),
            "gene": np.asarray(adata.var_names)[order].ravel(),
            "delta": np.take_along_axis(values, order, axis=1).ravel(),
        }
    )


def scores(adata: AnnData, *, key: str | None = None) -> pd.DataFrame:
    """Return the scores of ``tl.evaluate`` or ``tl.benchmark``, a row per model, condition and metric.

    Parameters
    ----------
    adata
        A screen with ``uns["benchmark"]``, or predictions with ``uns["evaluation"]``.
    key
        Name of the slot; the default is whichever is there.

    Returns
    -------
    DataFrame
        ``model``, ``perturbation``, ``metric``, ``value`` (and ``seed`` for a benchmark).

    Raises
    ------
    KeyError
        Neither slot is there.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.benchmark(adata, ["no_change", "mean"])
    >>> sorted(spm.get.scores(adata)["model"].unique())
    ['mean', 'no_change']
    """
    if key is None:
        key = _keys.EVALUATION if _keys.EVALUATION in adata.uns else _keys.BENCHMARK
    check_key(adata, "uns", key, made_by="spm.tl.evaluate` or `spm.tl.benchmark")
    table: pd.DataFrame = adata.uns[key]["scores"]
    return table.reset_index(drop=True)


def history(adata: AnnData, *, key: str = _keys.PREDICTOR) -> pd.DataFrame:
    """Return how a training went, a row per validation.

    Parameters
    ----------
    adata
        A screen with a trained predictor.
    key
        Name of the slot.

    Returns
    -------
    DataFrame
        ``epoch``, ``step``, ``train_loss``, ``val_loss``, ``train_r2``, ``val_r2``, ``lr``, ``seconds``.

    Raises
    ------
    KeyError
        There is no predictor.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.train_predictor(adata, net={"width": 8, "head_width": 8, "state": 4}, train={"epochs": 1})
    >>> len(spm.get.history(adata))
    1
    """
    check_key(adata, "uns", key, made_by="spm.tl.train_predictor")
    table: pd.DataFrame = adata.uns[key]["history"]
    return table.reset_index(drop=True)
