"""Fit models on one side of a screen and judge them on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_in_memory, check_key, check_params
from scperturbmamba._judging import is_baseline
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.responses import EFFECT, EXPRESSION, read_bundle
from scperturbmamba.engine.config import NetConfig, TrainConfig, resolve
from scperturbmamba.tl._benchmark_files import forge_result, write_tables, write_text
from scperturbmamba.tl._benchmark_jobs import Job, Said, Setting, run_jobs
from scperturbmamba.tl._ceiling import NO_SCALE, score_ceiling
from scperturbmamba.tl._html_report import html_report
from scperturbmamba.tl._judgement import held_out_rows, judge
from scperturbmamba.tl._metric_table import Reference
from scperturbmamba.tl._model_names import NETWORKS, PREDICTOR, baseline_names, check_name
from scperturbmamba.tl._scoring import reference_of, score_models
from scperturbmamba.tl._truth import Truth, measured_effects, measured_halves, stacked

_TOP_GENES = 50  # of the JSON results


def benchmark(
    adata: AnnData,
    models: str | Sequence[str] | None = None,
    *,
    splits: str | Sequence[str] = _keys.SPLIT,
    seeds: Sequence[int] = (0,),
    net: NetConfig | Mapping[str, Any] | None = None,
    train: TrainConfig | Mapping[str, Any] | None = None,
    context: str | None = None,
    response: str = EXPRESSION,
    folder: str | Path | None = None,
    key_added: str = _keys.BENCHMARK,
) -> None:
    """Fit models on the training side of a screen and judge them on the test side: models × splits × seeds.

    Jobs run in ``spm.settings.n_jobs`` processes. With a folder every finished job is kept there, an interrupted
    benchmark goes on where it stopped, and a report with figures is written.

    Parameters
    ----------
    adata
        Cells × genes with labels, log-normalised ``X``, a split, and any ``varm["gene_*"]``; or effects, see
        ``response``.
    models
        Names: ``"no_change"``, ``"mean"``, ``"matching_mean"``, ``"additive"``, ``"scaled_additive"``, ``"bilinear"``;
        with doses ``"nearest_dose"``, ``"log_linear_dose"``, ``"dose_mean"``; with contexts ``"context_mean"``,
        ``"context_additive"``; from features ``"nearest"``, ``"knn"``, ``"ridge"``, with a source as in
        ``"knn:string"``, and with features given to the wrong genes, as a null, ``"knn_shuffled"``; ``"knowledge"``,
        the core of the default; ``"predictor"``, the default of
        :func:`train_predictor`; the networks without a core ``"bimamba"``, ``"lstm"`` and ``"mlp"``; and
        ``"embedding_ridge"`` (``"embedding_ridge:X_scGPT"``), the protocol of scModelForge, which leaks: it predicts a
        held-out condition from its own cells. The default is every baseline that the screen allows, and
        ``"predictor"``.
    splits
        Columns of ``obs`` with a split each, such as the folds of ``pp.split_conditions``.
    seeds
        A network is trained once for each; the baselines have none.
    net, train
        Settings of the networks, as in :func:`train_predictor`.
    context
        Column of ``obs`` whose levels have control cells of their own.
    response
        ``"expression"``, or ``"effect"`` where ``X`` holds effects (log fold changes, calls), NaN where there is a gap.
    folder
        Where predictions (``.h5ad``), tables (``.csv``), results in scModelForge's shape (``json/``) and
        ``report.html`` are written.
    key_added
        Name of the slot.

    Returns
    -------
    None
        Writes ``uns[key_added]``: ``params`` and the tables of :func:`evaluate`, ``scores`` with ``split`` and
        ``seed``.

    Raises
    ------
    KeyError
        A slot is missing.
    ValueError
        A model is unknown, there is nothing on the test side, or ``folder`` holds another benchmark.

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
    >>> spm.tl.benchmark(adata, ["no_change", "mean", "additive"])
    >>> float(adata.uns["benchmark"]["summary"].loc["no_change", "pearson_delta"])
    0.0
    """
    check_in_memory(adata, function="spm.tl.benchmark")
    network, training = resolve(NetConfig, net, "net"), resolve(TrainConfig, train, "train")
    names = None if models is None else as_names(models)
    for name in names or ():
        check_name(name)
    keys = as_names(splits)
    if names == [] or not len(seeds) or not keys:
        msg = f"expected at least one of `models`, `seeds` and `splits`; found {names}, {list(seeds)} and {keys}."
        raise ValueError(msg)

    wanted = names or [PREDICTOR]
    counts = network.head == "nb" and any(name in (PREDICTOR, *NETWORKS) for name in wanted)
    tests = [_read_test(adata, key, context=context, response=response, with_cells=counts) for key in keys]
    names = names or [*baseline_names(tests[0].bundle), *wanted]
    setting = Setting(
        adata,
        {one.split: one.bundle for one in tests},
        {one.split: one.truth.rows for one in tests},
        context,
        network,
        training,
    )
    jobs = [
        Job(name, key, int(seed)) for name in names for key in keys for seed in ((0,) if is_baseline(name) else seeds)
    ]
    where = None if folder is None else Path(folder)
    said = run_jobs(jobs, setting, None if where is None else where / "predictions")

    found = _judged(tests, said)
    told: dict[str, Any] = {
        "models": names,
        "splits": keys,
        "schemes": [str(adata.uns.get(key, {}).get(_keys.PARAMS, {}).get("scheme") or "given") for key in keys],
        "seeds": [str(int(seed)) for seed in seeds],
        "net": network.model_dump_json(),
        "train": training.model_dump_json(),
        "context": context,
        "response": response,
        "n_test": len(found["conditions"]),
    }
    params = check_params(told)
    if where is not None:
        first = {job.model: one.effects for job, one in reversed(said.items()) if job.split == keys[0]}
        results = {name: _forge(adata, tests[0], first[name]) for name in names}
        write_tables(found, results, where)
        write_text(where / "report.html", html_report({**found, _keys.PARAMS: params}, tests[0].truth, first))
    adata.uns[key_added] = {_keys.PARAMS: params, **found}


@dataclass(frozen=True)
class _Test:
    """One split, ready to be judged on."""

    split: str
    bundle: Bundle
    truth: Truth
    halves: tuple[Truth, Truth] | None
    reference: Reference


def _read_test(adata: AnnData, split: str, *, context: str | None, response: str, with_cells: bool) -> _Test:
    check_key(adata, "obs", split, made_by="spm.pp.split_conditions")
    bundle = read_bundle(adata, response=response, split=split, context=context, features=None, with_cells=with_cells)
    options: dict[str, Any] = {"genes": bundle.genes, "context": context, "split": split, "sides": [_keys.TEST]}
    place = np.zeros(0, np.int64)
    if (adata.obs[split] == _keys.TEST).any():
        truth = measured_effects(adata, response=response, **options)
        place = np.flatnonzero(truth.rows["context"].isin(bundle.contexts).to_numpy())
    if not len(place):
        msg = (
            f"expected conditions with cells on the test side of {split!r}; found none: run `spm.pp.split_conditions`."
        )
        raise ValueError(msg)
    halves = None
    if response != EFFECT:
        one, other = measured_halves(adata, seed=0, **options)
        halves = one.take(place), other.take(place)
    truth = truth.take(place)
    return _Test(split, bundle, truth, halves, reference_of(bundle, truth.rows))


def _judged(tests: Sequence[_Test], said: Mapping[Job, Said]) -> dict[str, Any]:
    """Score every job on its split and judge them together."""
    scores, scales, rows = [], [], []
    for test in tests:
        rows.append(held_out_rows(test.truth, test.halves, test.bundle).assign(split=test.split))
        for seed in sorted({job.seed for job in said}):
            here = {job.model: one for job, one in said.items() if (job.split, job.seed) == (test.split, seed)}
            if not here:
                continue
            some = {name: one.effects for name, one in here.items()}
            level = {name: one.expression for name, one in here.items() if one.expression is not None}
            table, _ = score_models(some, test.truth, test.reference, level)
            scores.append(table.assign(split=test.split, seed=seed))
            if test.halves is not None:
                ceiling, scale = score_ceiling(some, test.halves, test.reference, level)
                scales.append(scale)
                if seed == min(job.seed for job in said):
                    scores.append(ceiling.assign(split=test.split, seed=seed))
    conditions = pd.concat(rows, ignore_index=True)
    conditions.index = conditions.index.astype(str)
    scale = pd.concat(scales) if scales else NO_SCALE
    truth = stacked([test.truth for test in tests]).delta
    models = {
        name: np.concatenate([_first(said, name, test.split) for test in tests])
        for name in dict.fromkeys(job.model for job in said)
    }
    return judge(pd.concat(scores), scale, conditions, models, truth)


def _first(said: Mapping[Job, Said], model: str, split: str) -> NDArray[np.float32]:
    return next(one.effects for job, one in said.items() if (job.model, job.split) == (model, split))


def _forge(adata: AnnData, test: _Test, effects: NDArray[np.float32]) -> dict[str, Any]:
    labels = {one.label for one in test.bundle.conditions}
    held_out = set(test.truth.rows["label"])
    metadata = {
        "dataset_name": str(adata.uns.get("dataset_name", "adata")),
        "n_cells": int(adata.n_obs),
        "n_perturbations": len(labels) + len(held_out),
        "n_train": len(labels),
        "n_test": len(held_out),
    }
    return forge_result(effects, test.reference.centre, test.truth, n_top_genes=_TOP_GENES, metadata=metadata)
