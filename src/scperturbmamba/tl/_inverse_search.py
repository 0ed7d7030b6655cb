"""Search the settings of a model of the inverse task."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from anndata import AnnData
from tqdm.auto import tqdm

from scperturbmamba import _keys
from scperturbmamba._checks import check_choice, check_params, check_whole, optional_import
from scperturbmamba._settings import settings
from scperturbmamba.tl._inverse_evaluate import judge_fold
from scperturbmamba.tl._inverse_fit import MASKS, TARGETS, view_of
from scperturbmamba.tl._inverse_models import NETWORKS, check_model
from scperturbmamba.tl._inverse_protocols import DOUBLES, Fold, make_folds
from scperturbmamba.tl._inverse_train import check_screen

_NETWORK: Final = {"width": [16, 32, 64], "layers": [1, 2], "dropout": (0.0, 0.5), "lr": (3e-4, 1e-2, "log")}
RANGES: Final[Mapping[str, Mapping[str, Any]]] = {
    "logistic": {"strength": (1e-4, 1.0, "log")},
    "knn": {"n_neighbours": (5, 200), "n_components": (10, 100)},
    **dict.fromkeys(NETWORKS, _NETWORK),
}
_CELLS = (10, 50)  # profiles by which a trial is judged


def search_inverse(
    adata: AnnData,
    model: str = "logistic",
    *,
    hold_out: str,
    ranges: Mapping[str, Any] | None = None,
    n_trials: int = 20,
    storage: str | Path | None = None,
    mask: str | None = TARGETS,
    batch: str | None = None,
    random_state: int = 0,
    key_added: str = _keys.INVERSE_SEARCH,
) -> None:
    """Search the settings of a model by how well it ranks guides, replicates or batches that were held out in training.

    Cells on the test side of ``obs["split"]``, where there is such a column, are never looked at.

    Parameters
    ----------
    adata
        Cells × genes with labels and log-normalised ``X``.
    model
        Name of a model that has settings.
    hold_out
        Column of ``obs`` with guides, replicates or batches, whose levels are held out in turn.
    ranges
        What is tried, by setting: ``(low, high)``, ``(low, high, "log")``, or a list of choices. Whole ends are whole
        numbers. The default is a sensible range of the main settings.
    n_trials
        Trials in all, those of an earlier call with the same storage included.
    storage
        An SQLite file that keeps the trials, so that an interrupted search goes on. None keeps them in memory.
    mask, batch
        As in :func:`train_inverse`.
    random_state
        Seed.
    key_added
        Name of the slot.

    Returns
    -------
    None
        Writes ``uns[key_added]``: ``params``, where ``best`` is the JSON to give to ``train_inverse(config=...)`` and
        ``value`` its mean reciprocal rank over profiles of 10 and 50 cells; ``trials``, a table of a row per trial.

    Raises
    ------
    ImportError
        optuna is not installed.
    KeyError
        A slot or column is missing.
    ValueError
        The model has no settings, a range cannot be read, or cells would be held out at random.

    References
    ----------
    Akiba et al. (2019). Optuna. KDD.

    Examples
    --------
    >>> import json, scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=40)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.tl.search_inverse(adata, "knn", hold_out="batch", ranges={"n_neighbours": [10, 30]}, n_trials=2)
    >>> sorted(json.loads(adata.uns["inverse_search"]["params"]["best"]))
    ['n_neighbours']
    """
    optuna = optional_import("optuna", extra="search", purpose="a search of settings")
    check_choice(mask, MASKS, "mask")
    check_whole(n_trials, "n_trials")
    wanted = _ranges(model, ranges)
    check_screen(adata, batch, function="spm.tl.search_inverse")
    if hold_out == DOUBLES:
        msg = "a search must not see combinations that are asked for later; hold out guides, replicates or batches."
        raise ValueError(msg)
    seen = adata[(adata.obs[_keys.SPLIT] != _keys.TEST).to_numpy()] if _keys.SPLIT in adata.obs else adata
    folds = make_folds(seen, hold_out, 3)

    def value(trial: Any) -> float:
        config = check_model(model, {name: _suggest(trial, name, one) for name, one in wanted.items()})
        return _value(seen, model, config, folds, mask, batch, random_state)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=random_state),
        study_name=f"{model} {hold_out} {mask} {batch} {json.dumps(wanted)}",
        storage=None if storage is None else f"sqlite:///{Path(storage).absolute()}",
        load_if_exists=True,
    )
    done = sum(one.state == optuna.trial.TrialState.COMPLETE for one in study.trials)
    left = max(int(n_trials) - done, 0)
    for _ in tqdm(range(left), desc="search", unit="trial", disable=not settings.progress):
        study.optimize(value, n_trials=1)

    params = {
        "model": model,
        "hold_out": hold_out,
        "mask": mask,
        "batch": batch,
        "ranges": json.dumps(wanted),
        "best": json.dumps(study.best_params),
        "value": float(study.best_value),
        "n_trials": len(study.trials),
        "random_state": int(random_state),
    }
    adata.uns[key_added] = {_keys.PARAMS: check_params(params), "trials": _trials(study.trials)}


def _ranges(model: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is tried; refuse a setting that the model does not have, and a range that cannot be read."""
    check_model(model, None)
    wanted = dict(given if given is not None else RANGES.get(model, {}))
    if not wanted:
        msg = f"{model!r} has no settings to search. Models that have: {sorted(RANGES)}."
        raise ValueError(msg)
    for name, one in wanted.items():
        ends = isinstance(one, tuple) and len(one) in (2, 3) and one[0] < one[1] and (*one, "log")[2] == "log"
        if not (ends or (isinstance(one, list) and one)):
            msg = f'range of {name!r} must be (low, high), (low, high, "log") or a list of choices; found {one!r}.'
            raise ValueError(msg)
    check_model(model, {name: one[0] for name, one in wanted.items()})
    return wanted


def _suggest(trial: Any, name: str, one: Any) -> Any:
    if isinstance(one, list):
        return trial.suggest_categorical(name, one)
    low, high, log = one[0], one[1], len(one) == 3
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, low, high, log=log)


def _value(
    adata: AnnData,
    model: str,
    config: Mapping[str, Any],
    folds: Sequence[Fold],
    mask: str | None,
    batch: str | None,
    random_state: int,
) -> float:
    """Return the mean reciprocal rank over conditions, numbers of cells and folds."""
    found = []
    for fold in folds:
        judged = judge_fold(adata, view_of(adata, mask, batch), fold, model, config, _CELLS, random_state)
        each = judged.rows.assign(value=judged.values["mrr"])
        found.append(each.groupby(["condition", "size"])["value"].mean().mean())
    return float(np.nanmean(found)) if np.isfinite(found).any() else -math.inf


def _trials(trials: Sequence[Any]) -> pd.DataFrame:
    rows = [{"value": one.value if one.value is not None else np.nan, **one.params} for one in trials]
    table = pd.DataFrame(rows)
    return table.set_index(table.index.astype(str))
