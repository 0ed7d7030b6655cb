"""Train a model that reads the perturbation from a transcriptome."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import (
    check_choice,
    check_column,
    check_in_memory,
    check_key,
    check_log_normalised,
    check_params,
    check_unique_genes,
)
from scperturbmamba.models.inverse.networks import InverseNetwork
from scperturbmamba.tl._inverse_fit import MASKS, TARGETS, candidate_table, fit_inverse, held_out_table, view_of
from scperturbmamba.tl._inverse_models import check_model
from scperturbmamba.tl._inverse_stored import pack_inverse


def train_inverse(
    adata: AnnData,
    *,
    model: str = "dictionary",
    config: Mapping[str, Any] | None = None,
    mask: str | None = TARGETS,
    batch: str | None = None,
    random_state: int = 0,
    key: str | None = _keys.SPLIT,
    key_added: str = _keys.INVERSE,
) -> None:
    """Train a model that says which perturbation made a transcriptome, for cells, groups of cells or profiles.

    Every perturbation that stands alone in training is a candidate. Temperature and thresholds that make probabilities
    of scores are chosen on the validation cells, or on held-out folds of the training cells: batch by batch where
    there are several. Without a validation side, one fold also says for how many epochs a network is trained; it then
    learns anew from all training cells.

    Parameters
    ----------
    adata
        Cells × genes with labels and log-normalised ``X``.
    model
        ``"dictionary"`` (likelihood under sums of shrunken effects, each gene weighed by its noise), ``"centroid"``
        (cosine to mean effects), ``"logistic"`` (L2), ``"discriminant"`` (shrunken covariance), ``"knn"``,
        ``"nonnegative"`` (least squares), or a network: ``"mlp"``, ``"attention"``, ``"multihead"``,
        ``"cross_attention"``, ``"graph_attention"``, ``"bimamba"``.
    config
        Settings of the model, such as ``{"strength": 0.01}`` for ``"logistic"``, ``{"n_neighbours": 30}`` for
        ``"knn"``; fields of :class:`~scperturbmamba.engine.inverse.config.InverseConfig` for a network.
    mask
        ``"targets"`` takes the expression of every perturbed gene away, for all cells alike, and normalises by what is
        left of the library: otherwise a model reads the knock-down itself. None shows it.
    batch
        Column of ``obs`` (replicate, lane): every level is compared with control cells of its own.
    random_state
        Seed; the same seed gives the same numbers on one machine.
    key
        Column of ``obs`` with the split; cells on the test side are never looked at. None trains on all.
    key_added
        Name of the slot.

    Returns
    -------
    None
        Writes ``uns[key_added]``: ``params``; ``candidates``, a table of a row per candidate (``n_cells``,
        ``reliability``: the share of the measured effect that is no noise, ``detectable``: whether that is a half or
        more, ``threshold``); ``held_out``, a table of how held-out training profiles of 1, 10, 50 and all cells are
        ranked; ``history`` of a network; ``checkpoint``, all that :func:`rank_perturbations` needs.

    Raises
    ------
    KeyError
        A slot or column is missing.
    ValueError
        The model or a setting is unknown, no perturbation stands alone in training, or a batch has no control cells.

    References
    ----------
    Robbins (1956), empirical Bayes. Guo et al. (2017), On calibration of modern neural networks. Ahlmann-Eltze et al.
    (2025), Nature Methods.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=30)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.tl.train_inverse(adata, key=None)
    >>> list(adata.uns["inverse"]["candidates"].columns)
    ['n_cells', 'reliability', 'detectable', 'threshold']
    """
    check_choice(mask, MASKS, "mask")
    settings_of_model = check_model(model, config)
    check_screen(adata, batch, function="spm.tl.train_inverse")
    sides = _sides(adata, key)

    fitted = fit_inverse(adata, model, settings_of_model, view_of(adata, mask, batch), sides, int(random_state))

    params = {
        "model": model,
        "config": json.dumps(settings_of_model),
        "mask": mask,
        "batch": batch,
        "random_state": int(random_state),
        "split": key,
        "n_candidates": len(fitted.inverse.candidates),
        "n_genes": len(fitted.inverse.genes),
        "n_hidden": len(fitted.inverse.hidden),
    }
    found = {
        _keys.PARAMS: check_params(params),
        "candidates": candidate_table(fitted),
        "held_out": held_out_table(fitted),
        "checkpoint": pack_inverse(fitted.inverse),
    }
    if isinstance(fitted.inverse.model, InverseNetwork):
        found["history"] = _history(fitted.inverse.model)
    adata.uns[key_added] = found


def check_screen(adata: AnnData, batch: str | None, *, function: str) -> None:
    """Refuse a screen without labels, with raw counts in X, or without the batch column."""
    check_in_memory(adata, function=function)
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    check_unique_genes(adata)
    check_log_normalised(adata)
    if batch is not None:
        check_column(adata, batch, argument="batch")


def _history(model: InverseNetwork) -> pd.DataFrame:
    table = pd.DataFrame(model.history.rows).astype({"epoch": int, "step": int})
    return table.set_index(table.index.astype(str))


def _sides(adata: AnnData, key: str | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    labelled = adata.obs[_keys.PERTURBATION].notna().to_numpy()
    if key is None:
        return labelled, np.zeros(adata.n_obs, dtype=bool)
    check_key(adata, "obs", key, made_by="spm.pp.split_conditions")
    side = adata.obs[key].astype(object)
    return labelled & (side == _keys.TRAIN).to_numpy(), labelled & (side == _keys.VAL).to_numpy()
