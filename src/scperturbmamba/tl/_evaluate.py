"""Judge predictions by measured effects, always beside the baselines."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_key, check_params
from scperturbmamba._judging import HEADLINE
from scperturbmamba.data.control_groups import control_groups
from scperturbmamba.data.responses import EXPRESSION, read_bundle
from scperturbmamba.tl._ceiling import NO_SCALE, score_ceiling
from scperturbmamba.tl._coverage import coverage_table
from scperturbmamba.tl._judgement import held_out_rows, judge
from scperturbmamba.tl._model_names import baseline_names, make_baseline
from scperturbmamba.tl._scoring import predict_rows, reference_of, score_models
from scperturbmamba.tl._truth import Truth, measured_sides

_PREDICTED = "predicted"


def evaluate(predicted: AnnData, adata: AnnData, *, key: str | None = None, key_added: str = _keys.EVALUATION) -> None:
    """Judge predictions, ours or anybody's, by the measured effects of a screen, beside every baseline and the ceiling.

    A condition on the test side is compared with test cells and test controls, one on the training side with training
    cells and controls: truth and model input never share control cells. After :func:`spm.pp.match_controls
    <scperturbmamba.pp.match_controls>` a cell is compared with the control cells of its own group.

    Parameters
    ----------
    predicted
        A result of :func:`predict` or of ``io.read_predictions``, one row per condition.
    adata
        The screen, with labels, log-normalised ``X`` and the split used in training.
    key
        Column of ``obs`` with the split; the default is the one used in training.
    key_added
        Name of the slot in ``predicted.uns``.

    Returns
    -------
    None
        Writes ``predicted.obs``: ``mse``, ``l2`` (over the 1,000 genes highest in control), ``pearson_delta``,
        ``pearson_delta_centred`` (after the training mean is taken from both), ``direction_top20``, ``pds_l1``,
        ``split``; NaN where a condition was not measured. ``predicted.uns[key_added]``: ``params``; ``scores`` (a row
        per model, condition, metric, with and without the perturbed genes themselves); ``summary`` (models × metrics);
        ``coverage`` (how many measurements lie in the intervals of each level, if there are intervals); ``scaled`` (the
        summary, 0 the training mean, 1 a replicate); ``comparison`` (paired gains over each baseline with
        95 % intervals); ``verdicts`` (the same in words); ``strata`` (by effect size, cells, and what was seen);
        ``collapse`` (how alike predictions are to each other); ``conditions`` (what was held out).

    Raises
    ------
    KeyError
        A slot is missing.
    ValueError
        No predicted condition was measured, or there are no control cells.

    References
    ----------
    Ahlmann-Eltze et al. (2025), Nature Methods. Viñas Torné et al. (2025), Nature Biotechnology (Systema). Miller et
    al. (2025), bioRxiv.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.train_predictor(adata, preset="fast")
    >>> held_out = adata.obs.query("split == 'test' and not is_control")["perturbation"].unique()
    >>> predicted = spm.tl.predict(adata, list(held_out))
    >>> spm.tl.evaluate(predicted, adata)
    >>> predicted.uns["evaluation"]["verdicts"].iloc[0][["model", "verdict", "baseline"]].tolist()
    ['predicted', 'too few to say', 'no_change']
    """
    check_key(predicted, "layers", _keys.DELTA, made_by="spm.tl.predict")
    check_key(predicted, "obs", _keys.PERTURBATION, made_by="spm.tl.predict")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    _check_one_row_per_condition(predicted)
    params = predicted.uns.get(_keys.PREDICTOR, {}).get(_keys.PARAMS, {})
    split = key or params.get("split", _keys.SPLIT)
    context, response = params.get("context"), params.get("response", EXPRESSION)
    check_key(adata, "obs", split, made_by="spm.pp.split_conditions")

    genes = list(predicted.var_names)
    bundle = read_bundle(adata[:, genes], response=response, split=split, context=context, features=None)
    truth, halves = measured_sides(adata, genes=genes, context=context, split=split, response=response)
    rows, place = _matched(predicted, truth)
    truth = truth.take(place)
    halves = None if halves is None else (halves[0].take(place), halves[1].take(place))
    reference = reference_of(bundle, truth.rows)
    models = {_PREDICTED: np.asarray(predicted.layers[_keys.DELTA], np.float32)[rows]}
    for name in baseline_names(bundle):
        models[name] = predict_rows(make_baseline(name).fit(bundle), bundle, truth.rows)
    has_control = _keys.CONTROL_LAYER in predicted.layers
    control = np.asarray(predicted.layers[_keys.CONTROL_LAYER], np.float32)[rows] if has_control else reference.control
    level = {_PREDICTED: control + models[_PREDICTED]}
    scores, own = score_models(models, truth, reference, level)
    scale = NO_SCALE
    if halves is not None:
        ceiling, scale = score_ceiling(models, halves, reference, level)
        scores = pd.concat([scores, ceiling])
    found = judge(scores, scale, held_out_rows(truth, halves, bundle), models, truth.delta)

    measured = truth.mean - control if control_groups(adata) is None else truth.delta
    covered = coverage_table(predicted, rows, measured)
    if covered is not None:
        found["coverage"] = covered

    for name in HEADLINE:
        predicted.obs[name] = _spread(own[name].to_numpy(), rows, predicted.n_obs)
    sides = np.full(predicted.n_obs, "", dtype=object)
    sides[rows] = truth.rows["side"].to_numpy()
    predicted.obs[_keys.SPLIT] = pd.Categorical(pd.Series(sides).replace("", np.nan))
    told = {"split": split, "context": context, "response": response}
    predicted.uns[key_added] = {_keys.PARAMS: check_params(told), **found}


def _check_one_row_per_condition(predicted: AnnData) -> None:
    pairs = predicted.obs[[_keys.PERTURBATION, *(["context"] if "context" in predicted.obs else [])]]
    if pairs.duplicated().any():
        msg = (
            "expected one row per condition; found several rows of one. Evaluate `spm.tl.predict(...)` without "
            "`n_cells=`, or average the cells first."
        )
        raise ValueError(msg)


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


def _spread(values: NDArray[np.float64], rows: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    full = np.full(n, np.nan)
    full[rows] = values
    return full
