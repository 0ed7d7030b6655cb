"""What trainings and evaluations left behind, as tables."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_key


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
    >>> {"mean", "no_change"} <= set(spm.get.scores(adata)["model"])
    True
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
    >>> net = {"core": None, "width": 8, "head_width": 8, "state": 4}
    >>> spm.tl.train_predictor(adata, net=net, train={"epochs": 2})
    >>> len(spm.get.history(adata))
    1
    """
    check_key(adata, "uns", key, made_by="spm.tl.train_predictor")
    table: pd.DataFrame = adata.uns[key]["history"]
    return table.reset_index(drop=True)
