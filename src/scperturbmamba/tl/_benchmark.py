"""Fit models on one side of a screen and score them on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_choice, check_in_memory, check_params
from scperturbmamba._settings import settings
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.engine.config import NetConfig, TrainConfig, resolve
from scperturbmamba.models.base import Model
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.tl._progress import training_callbacks
from scperturbmamba.tl._scoring import BASELINES, predict_rows, score_models, summarise
from scperturbmamba.tl._truth import measured_effects

_NETWORKS = {"bimamba": "mamba2", "lstm": "lstm"}


def benchmark(
    adata: AnnData,
    models: Sequence[str] = (*BASELINES, "bimamba"),
    *,
    net: NetConfig | Mapping[str, Any] | None = None,
    train: TrainConfig | Mapping[str, Any] | None = None,
    context: str | None = None,
    seeds: Sequence[int] = (0,),
    key: str = _keys.SPLIT,
    key_added: str = _keys.BENCHMARK,
) -> None:
    """Fit models on the training side and score them on the test side of a screen.

    Parameters
    ----------
    adata
        Cells × genes with labels, log-normalised ``X``, a split, and any ``varm["gene_*"]``.
    models
        Names among ``"no_change"``, ``"mean"``, ``"additive"``, ``"bimamba"`` and ``"lstm"``.
    net, train
        Settings of the networks, as in :func:`train_predictor`.
    context
        Column of ``obs`` whose levels have control cells of their own.
    seeds
        A network is trained once for each; the baselines have none.
    key
        Column of ``obs`` with the split.
    key_added
        Name of the slot.

    Returns
    -------
    None
        Writes ``uns[key_added]``: ``params``, ``scores`` (a row per model, seed, condition and metric) and ``summary``
        (models × metrics, averaged).

    Raises
    ------
    KeyError
        A slot is missing.
    ValueError
        A model is unknown, or there is nothing on the test side.

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
    for name in as_names(models):
        check_choice(name, [*BASELINES, *_NETWORKS], "models")
    if not len(models) or not len(seeds):
        msg = f"expected at least one of `models` and one of `seeds`; found {list(models)} and {list(seeds)}."
        raise ValueError(msg)
    network, training = resolve(NetConfig, net, "net"), resolve(TrainConfig, train, "train")
    counts = network.head == "nb"
    bundle = Bundle.from_adata(adata, split=key, context=context, features=None, with_cells=counts)
    truth = measured_effects(adata, genes=bundle.genes, context=context, split=key, sides=[_keys.TEST])
    place = np.flatnonzero(truth.rows["context"].isin(bundle.contexts).to_numpy())
    if not len(place):
        msg = "expected conditions with cells on the test side; found none. Run `spm.pp.split_conditions`."
        raise ValueError(msg)

    tables = []
    for name in as_names(models):
        for seed in seeds if name not in BASELINES else (0,):
            model = _fitted(name, bundle, network, training, seed)
            rows = {name: predict_rows(model, bundle, truth.rows.iloc[place])}
            tables.append(score_models(rows, truth, place, bundle)[0].assign(seed=seed))
    scores = pd.concat(tables, ignore_index=True)
    scores.index = scores.index.astype(str)

    params = {
        "models": as_names(models),
        "net": network.model_dump_json(),
        "train": training.model_dump_json(),
        "context": context,
        "seeds": [str(seed) for seed in seeds],
        "split": key,
        "n_test": len(place),
    }
    adata.uns[key_added] = {_keys.PARAMS: check_params(params), "scores": scores, "summary": summarise(scores)}


def _fitted(name: str, data: Bundle, net: NetConfig, train: TrainConfig, seed: int) -> Model:
    if name in BASELINES:
        return BASELINES[name]().fit(data)
    chosen = net.model_copy(update={"mixer": _NETWORKS[name]})
    model = BiMamba(chosen, train, random_state=int(seed), device=settings.device, engine=settings.engine)
    return model.fit(data, callbacks=training_callbacks(train.epochs))
