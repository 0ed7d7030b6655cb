"""Judge predictions by measured effects, always beside the baselines."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_key, check_params
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.tl._scoring import METRICS, fit_baselines, predict_rows, score_models, summarise
from scperturbmamba.tl._truth import Truth, measured_effects

_PREDICTED = "predicted"


def evaluate(predicted: AnnData, adata: AnnData) -> None:
    """Score predictions against the measured effects of a screen, beside no change, training mean and additive.

    A condition on the test side is compared with test cells and test controls, one on the training side with training
    cells and controls: truth and model input never share control cells.

    Parameters
    ----------
    predicted
        A result of :func:`predict`, one row per condition.
    adata
        The screen, with labels, log-normalised ``X`` and the split used in training.

    Returns
    -------
    None
        Writes ``predicted.obs``: ``mse``, ``l2`` (over the 1,000 genes highest in control), ``pearson_delta``,
        ``pearson_delta_centred`` (after the training mean is taken from both), ``direction_top20``, ``split``; NaN
        where a condition was not measured. ``predicted.uns["evaluation"]``: ``params``, ``scores`` (a row per model,
        condition and metric) and ``summary`` (models × metrics).

    Raises
    ------
    KeyError
        A slot is missing.
    ValueError
        No predicted condition was measured, or there are no control cells.

    References
    ----------
    Ahlmann-Eltze et al. (2025), Nature Methods.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.train_predictor(adata, net={"width": 8, "head_width": 8, "state": 4}, train={"epochs": 2})
    >>> held_out = adata.obs.query("split == 'test' and not is_control")["perturbation"].unique()
    >>> predicted = spm.tl.predict(adata, list(held_out))
    >>> spm.tl.evaluate(predicted, adata)
    >>> list(predicted.uns["evaluation"]["summary"].index)
    ['predicted', 'no_change', 'mean', 'additive']
    """
    check_key(predicted, "layers", _keys.DELTA, made_by="spm.tl.predict")
    check_key(predicted, "obs", _keys.PERTURBATION, made_by="spm.tl.predict")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    _check_one_row_per_condition(predicted)
    params = predicted.uns.get(_keys.PREDICTOR, {}).get(_keys.PARAMS, {})
    split, context = params.get("split", _keys.SPLIT), params.get("context")
    check_key(adata, "obs", split, made_by="spm.pp.split_conditions")

    bundle = Bundle.from_adata(adata[:, predicted.var_names], split=split, context=context)
    truth = _all_truth(adata, list(predicted.var_names), split, context)
    rows, place = _matched(predicted, truth)
    models = {_PREDICTED: _rows_of(predicted)[rows], **_baseline_rows(bundle, truth.rows.iloc[place])}
    scores, own = score_models(models, truth, place, bundle)

    for name in METRICS:
        predicted.obs[name] = _spread(own[name].to_numpy(), rows, predicted.n_obs)
    sides = np.full(predicted.n_obs, "", dtype=object)
    sides[rows] = truth.rows["side"].to_numpy()[place]
    predicted.obs[_keys.SPLIT] = pd.Categorical(pd.Series(sides).replace("", np.nan))
    predicted.uns[_keys.EVALUATION] = {
        _keys.PARAMS: check_params({"split": split, "context": context}),
        "scores": scores,
        "summary": summarise(scores),
    }


def _check_one_row_per_condition(predicted: AnnData) -> None:
    pairs = predicted.obs[[_keys.PERTURBATION, *(["context"] if "context" in predicted.obs else [])]]
    if pairs.duplicated().any():
        msg = (
            "expected one row per condition; found several rows of one. Evaluate `spm.tl.predict(...)` without "
            "`n_cells=`, or average the cells first."
        )
        raise ValueError(msg)


def _all_truth(adata: AnnData, genes: list[str], split: str, context: str | None) -> Truth:
    """Return the measured effects of every side, each against its own controls."""
    found = []
    for side in (_keys.TRAIN, _keys.VAL, _keys.TEST):
        on_side = adata.obs[split] == side
        if (on_side & (adata.obs[_keys.PERTURBATION] == _keys.CONTROL)).any():
            one = measured_effects(adata, genes=genes, context=context, split=split, sides=[side])
            found.append(Truth(one.rows.assign(side=side), one.delta, one.n_cells))
        elif on_side.any():
            warnings.warn(f"the side {side!r} has no control cells and is not scored.", UserWarning, stacklevel=3)
    if not found:
        msg = "expected control cells on at least one side of the split; found none. Run `spm.pp.split_conditions`."
        raise ValueError(msg)
    return Truth(
        pd.concat([one.rows for one in found]),
        np.vstack([one.delta for one in found]),
        np.concatenate([one.n_cells for one in found]),
    )


def _matched(predicted: AnnData, truth: Truth) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the predicted rows that were measured, and their places in the truth."""
    level = predicted.obs["context"] if "context" in predicted.obs else pd.Series("all", index=predicted.obs_names)
    asked = pd.MultiIndex.from_arrays([predicted.obs[_keys.PERTURBATION].astype(str), level.astype(str)])
    place = pd.MultiIndex.from_frame(truth.rows[["label", "context"]]).get_indexer(asked)
    rows = np.flatnonzero(place >= 0)
    if not len(rows):
        msg = (
            f"none of the predicted conditions was measured, such as {list(predicted.obs[_keys.PERTURBATION][:3])}. "
            f"Measured: {list(truth.rows['label'][:5])}, ..."
        )
        raise ValueError(msg)
    return rows, place[rows]


def _rows_of(predicted: AnnData) -> NDArray[np.float32]:
    return np.asarray(predicted.layers[_keys.DELTA], dtype=np.float32)


def _baseline_rows(bundle: Bundle, rows: pd.DataFrame) -> dict[str, NDArray[np.float32]]:
    return {name: predict_rows(model, bundle, rows) for name, model in fit_baselines(bundle).items()}


def _spread(values: NDArray[np.float64], rows: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    full = np.full(n, np.nan)
    full[rows] = values
    return full
