"""Judge models of the inverse task on guides, replicates or combinations that they have not seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from tqdm.auto import tqdm

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_choice, check_params, check_whole
from scperturbmamba._settings import settings
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.hidden_genes import expression_without
from scperturbmamba.data.inverse_data import View, align, batch_codes
from scperturbmamba.data.units import ALL, Size, Units, draw_units, split_halves
from scperturbmamba.data.words import words_of
from scperturbmamba.models.inverse.pairs import MOST_PARTS
from scperturbmamba.tl._inverse_fit import MASKS, Fitted, fit_inverse, view_of
from scperturbmamba.tl._inverse_judged import Judged, judge_doubles, judge_singles
from scperturbmamba.tl._inverse_models import SIMPLE, check_model
from scperturbmamba.tl._inverse_protocols import DOUBLES, Fold, make_folds
from scperturbmamba.tl._inverse_summary import mean_table, pooled_table, scores_table
from scperturbmamba.tl._inverse_train import check_screen

_MOST, _REPEATS = 20, 5  # units of one condition and size, and times that its cells are shared out


def evaluate_inverse(
    adata: AnnData,
    models: str | Sequence[str] = tuple(SIMPLE),
    *,
    hold_out: str,
    masks: Sequence[str | None] = MASKS,
    cells: Sequence[int | str] = (1, 10, 50, ALL),
    batch: str | None = None,
    n_folds: int = 3,
    config: Mapping[str, Mapping[str, Any]] | None = None,
    random_state: int = 0,
    key_added: str = _keys.INVERSE_EVALUATION,
) -> None:
    """Judge models on guides, replicates, batches or combinations they have not seen, with and without target genes.

    Everything is trained and calibrated on the training side of each fold alone. Cells at random are never held out.

    Parameters
    ----------
    adata
        Cells × genes with labels and log-normalised ``X``.
    models
        Names of models, as in :func:`train_inverse`.
    hold_out
        ``"doubles"`` trains on singles and asks for combinations, whose number of genes is known; or a column of
        ``obs`` with guides, replicates or batches, whose levels are held out in turn.
    masks
        ``"targets"`` takes the expression of the perturbed genes away (the headline), None shows it.
    cells
        How many cells are averaged into one profile; ``"all"`` is every held-out cell of a condition.
    batch
        Column of ``obs`` whose levels are compared with control cells of their own. Half of the held-out control cells
        are compared with, the other half are asked for.
    n_folds
        Into how many parts the levels are dealt.
    config
        Settings of models by name, such as ``{"logistic": {"strength": 0.01}}``.
    random_state
        Seed.
    key_added
        Name of the slot.

    Returns
    -------
    None
        Writes ``uns[key_added]``: ``params``; ``scores`` (``model``, ``mask``, ``fold``, ``size``, ``condition``,
        ``seen``, ``metric``, ``value``, ``chance``, ``n_candidates``); ``summary`` (means over conditions with 95 %
        intervals, F1 of calls, calibration error); ``answers`` (how often each condition was answered by what:
        ``first`` by the scores alone, ``inferred`` with the control and what cannot be told from it).
        ``seen`` is ``"single"``, or for a combination ``"both"``, ``"one"`` or ``"none"`` of its genes.

    Raises
    ------
    KeyError
        A slot or column is missing.
    ValueError
        Cells would be held out at random, a model is unknown, or there is nothing to hold out.

    References
    ----------
    Ahlmann-Eltze et al. (2025), Nature Methods. Guo et al. (2017), On calibration of modern neural networks.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=2, cells_per_condition=30)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.tl.evaluate_inverse(adata, "dictionary", hold_out="batch", masks=["targets"], cells=[10])
    >>> summary = adata.uns["inverse_evaluation"]["summary"]
    >>> summary.query("metric == 'mrr'")[["n_candidates", "n_conditions"]].to_numpy(int).tolist()
    [[8, 8]]
    """
    check_screen(adata, batch, function="spm.tl.evaluate_inverse")
    names = as_names(models)
    configs = {name: check_model(name, (config or {}).get(name)) for name in names}
    for mask in masks:
        check_choice(mask, MASKS, "masks")
    for size in cells:
        if size != ALL:
            check_whole(float(size), "cells")
    folds = make_folds(adata, hold_out, n_folds)

    jobs = [(mask, fold, name) for mask in masks for fold in folds for name in names]
    scores: list[pd.DataFrame] = []
    answers: list[pd.DataFrame] = []
    pooled: dict[tuple[str, str], list[Judged]] = {}
    for mask, fold, name in tqdm(jobs, desc="evaluate", unit="training", disable=not settings.progress):
        view = view_of(adata, mask, batch)
        judged = judge_fold(adata, view, fold, name, configs[name], cells, random_state)
        said = {"model": name, "mask": mask or "none", "fold": fold.name}
        scores.append(scores_table(judged, said))
        answers.append(judged.rows.assign(**said))
        pooled.setdefault((name, said["mask"]), []).append(judged)

    rng = np.random.default_rng(random_state)
    more = [pooled_table(_joined(some), {"model": name, "mask": mask}, rng) for (name, mask), some in pooled.items()]
    table = pd.concat(scores, ignore_index=True)
    params = {
        "models": names,
        "config": json.dumps(configs),
        "hold_out": hold_out,
        "cells": [str(size) for size in cells],
        "batch": batch,
        "n_folds": int(n_folds),
        "random_state": int(random_state),
    }
    adata.uns[key_added] = {
        _keys.PARAMS: check_params(params),
        "scores": _numbered(table),
        "summary": _numbered(pd.concat([mean_table(table), *more], ignore_index=True)),
        "answers": _numbered(_counted(pd.concat(answers, ignore_index=True))),
    }


def judge_fold(
    adata: AnnData,
    view: View,
    fold: Fold,
    name: str,
    config: Mapping[str, Any],
    cells: Sequence[Size],
    random_state: int,
) -> Judged:
    """Train on one side of a fold and judge units of the other."""
    nothing = np.zeros(adata.n_obs, dtype=bool)
    fitted = fit_inverse(adata, name, config, view, (fold.train, nothing), random_state)
    units, conditions = held_out_units(adata, view, fold, fitted, cells, np.random.default_rng(random_state))
    sizes = [str(size) for size in cells]
    if fold.name == DOUBLES:
        return judge_doubles(fitted.inverse, units, conditions, sizes)
    return judge_singles(fitted.inverse, units, conditions, sizes)


def held_out_units(
    adata: AnnData,
    view: View,
    fold: Fold,
    fitted: Fitted,
    cells: Sequence[Size],
    rng: np.random.Generator,
) -> tuple[Units, list[Condition]]:
    """Return units of the held-out cells, and the conditions that they are numbered by.

    In a fold of a column these are singles that were trained on, and the control; with a batch column, half of its
    held-out control cells are what the batch is compared with and never asked for.
    """
    some = adata[fold.test]
    labels = words_of(some.obs[_keys.PERTURBATION]).to_numpy()
    x = expression_without(some, view.hidden, view.kept)
    is_control = labels == _keys.CONTROL
    batch = batch_codes(some, view.batch)
    compared = is_control & (split_halves(np.where(is_control, batch, -1), rng) == 1)
    if view.batch is not None and fold.name != DOUBLES:
        x = align(x, batch, compared, fitted.inverse.centre)
        labels = np.where(compared, "", labels)
    elif view.batch is not None:
        x = _aligned_to_training(adata, view, fold, x, batch, fitted)
    known = {Condition((part,)).label for part in fitted.inverse.candidates} | {_keys.CONTROL}
    if fold.name == DOUBLES:
        known = {one for one in labels if len(Condition.parse(one).parts) == MOST_PARTS}
    asked = sorted(known & set(labels))
    group = pd.Index(asked).get_indexer(labels).astype(np.int64)
    return draw_units(x, group, cells, most=_MOST, rng=rng, repeats=_REPEATS), [Condition.parse(one) for one in asked]


def _aligned_to_training(
    adata: AnnData, view: View, fold: Fold, x: NDArray[np.float32], batch: NDArray[np.int64], fitted: Fitted
) -> NDArray[np.float32]:
    """Move the batches of held-out doubles by the control cells of training, of which none are held out."""
    control = fold.train & (words_of(adata.obs[_keys.PERTURBATION]) == _keys.CONTROL).to_numpy()
    both = np.flatnonzero(control | fold.test)
    code = batch_codes(adata[both], view.batch)
    own = expression_without(adata[both], view.hidden, view.kept)
    moved = align(own, code, control[both], fitted.inverse.centre)
    return moved[~control[both]]


def _joined(some: list[Judged]) -> Judged:
    """Return the units of all folds as one, over the candidates of all."""
    names = sorted({name for one in some for name in one.candidates})

    def widened(table: NDArray[np.bool_], one: Judged) -> NDArray[np.bool_]:
        wide = np.zeros((len(table), len(names)), dtype=bool)
        wide[:, pd.Index(names).get_indexer(list(one.candidates))] = table
        return wide

    return replace(
        some[0],
        rows=pd.concat([one.rows for one in some], ignore_index=True),
        truth=np.concatenate([widened(one.truth, one) for one in some]),
        called=np.concatenate([widened(one.called, one) for one in some]),
        candidates=tuple(names),
        n_candidates=max(one.n_candidates for one in some),
    )


def _counted(rows: pd.DataFrame) -> pd.DataFrame:
    keys = ["model", "mask", "size", "condition", "first", "inferred"]
    return rows.groupby(keys, sort=False).size().rename("n_units").reset_index()


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose index is words, as files need it."""
    return table.set_index(table.index.astype(str))
