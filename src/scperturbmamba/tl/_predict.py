"""Predict with a trained predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_whole
from scperturbmamba.data.responses import EFFECT
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.tl._report import row_table
from scperturbmamba.tl._requests import later_features, read_requests, resolve_context
from scperturbmamba.tl._stored import find_predictor


def predict(
    adata: AnnData,
    perturbations: str | Sequence[str],
    *,
    context: str | None = None,
    n_cells: int | None = None,
    predictor: AnnData | str | Path | None = None,
    random_state: int = 0,
    key: str = _keys.PREDICTOR,
) -> AnnData:
    """Predict the transcriptome after perturbations, seen or unseen, measured or not.

    Parameters
    ----------
    adata
        The screen that carries the predictor in ``uns[key]``; it is not changed.
    perturbations
        A label or several: ``"KLF1"``, ``"CBL+CNN1"``, ``["TP53", "MYC+TP53"]``. Aliases and the Ensembl ids in
        ``var`` are resolved to the names of the screen; a condition asked for twice is predicted once.
    context
        Level of the training ``context=`` to predict in; the default is the only one, or all of them in turn.
    n_cells
        Draw so many cells of raw counts per condition from the negative binomial (``head="nb"`` only) instead of one
        expected profile.
    predictor
        Where the predictor is, if not in ``adata``: another AnnData, or a folder of :func:`save_predictor`.
    random_state
        Seed of the sampled cells.
    key
        Name of the slot with the predictor.

    Returns
    -------
    AnnData of conditions (or sampled cells) × trained genes
        ``X``
            Predicted expression in the training scale, log(1 + counts per 10,000), not negative; raw counts where
            ``n_cells`` is given; the effect itself after a training with ``response="effect"``.
        ``layers["delta"]``, ``layers["control"]``
            Predicted effect, and the mean of the training control cells it adds to.
        ``obs``
            ``perturbation``, ``context``, ``seen`` (the condition was in training), ``n_train_cells``, ``support``
            (``"seen"``, ``"parts seen"``, ``"features"``, ``"none"``).
        ``uns["predictor"]["params"]``
            Those of the training.

    Raises
    ------
    KeyError
        There is no predictor.
    ValueError
        A label cannot be read, the context is unknown, or ``n_cells`` asks a linear head for counts.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.train_predictor(adata, net={"width": 8, "head_width": 8, "state": 4}, train={"epochs": 2})
    >>> spm.tl.predict(adata, ["TP53", "MYC+TP53"]).shape
    (2, 40)
    """
    model, params = find_predictor(adata, predictor, key)
    if n_cells is not None:
        check_whole(n_cells, "n_cells")
    model.learn_features(later_features(adata, model))
    conditions = read_requests(adata, as_names(perturbations), model)
    levels = resolve_context(model, context)

    rows = [(condition, level) for level in levels for condition in conditions]
    delta = np.concatenate([model.predict(conditions, context=level) for level in levels])
    control = np.repeat(model.control[levels], len(conditions), axis=0)
    obs = row_table(model, rows)
    counts = None
    if n_cells is not None:
        counts = [model.sample(conditions, int(n_cells), context=level, random_state=random_state) for level in levels]

    return _as_adata(model, obs, delta, control, counts, {_keys.PREDICTOR: {_keys.PARAMS: params}})


def _as_adata(
    model: BiMamba,
    obs: pd.DataFrame,
    delta: NDArray[np.float32],
    control: NDArray[np.float32],
    counts: Sequence[NDArray[np.float32]] | None,
    uns: dict[str, Any],
) -> AnnData:
    var = pd.DataFrame(index=pd.Index(model.encoder.genes))
    if counts is None:
        layers = {_keys.DELTA: delta, _keys.CONTROL_LAYER: control}
        effects_only = uns[_keys.PREDICTOR][_keys.PARAMS].get("response") == EFFECT
        x = delta if effects_only else np.maximum(control + delta, 0)
        return AnnData(x, obs=obs, var=var, layers=layers, uns=uns)
    drawn = np.concatenate(counts)
    n = drawn.shape[1]
    cells = obs.loc[np.repeat(obs.index, n)].copy()
    cells.index = [f"{name} #{number + 1}" for name in obs.index for number in range(n)]
    layers = {_keys.DELTA: np.repeat(delta, n, axis=0), _keys.CONTROL_LAYER: np.repeat(control, n, axis=0)}
    return AnnData(drawn.reshape(-1, drawn.shape[2]), obs=cells, var=var, layers=layers, uns=uns)
