"""Contexts that a predictor was not trained in, of which ``adata`` holds control cells."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_finite, check_in_memory, check_log_normalised
from scperturbmamba.data.profiles import NO_CONTEXT
from scperturbmamba.data.responses import EFFECT
from scperturbmamba.data.training_controls import training_controls
from scperturbmamba.data.words import words_of
from scperturbmamba.features.names import resolve_genes
from scperturbmamba.models.trained import Trained

NEW = "new"  # the one context of a screen, where the training told none apart
_SAME = 1e-4  # difference of control means below which they are those of the training
_FEWEST = 0.5  # share of the genes of a predictor that must be there


def bring_contexts(adata: AnnData, model: Trained, params: Mapping[str, Any]) -> list[int]:
    """Teach a predictor the contexts of ``adata`` that it does not know, by their control cells; return their numbers.

    Contexts are the levels of the column that ``context=`` named in training; a training without one has a single
    context, and ``adata`` is a new one where its control cells are others. Genes are matched by name; those that are
    not there have the training controls.

    Raises
    ------
    ValueError
        ``X`` is not log-normalised, or fewer than half of the genes are there.
    """
    column = params.get("context")
    if params.get("response") == EFFECT or _keys.IS_CONTROL not in adata.obs:
        return []
    if column is not None and column not in adata.obs:
        return []
    cells = training_controls(adata)
    level = pd.Series(NO_CONTEXT, index=adata.obs_names) if column is None else words_of(adata.obs[column])
    levels = sorted(set(level[cells].dropna()) - {""})
    if column is not None:
        levels = [name for name in levels if name not in model.frame.contexts]
    if not levels:
        return []
    check_in_memory(adata, function="spm.tl.predict")
    check_log_normalised(adata)
    place = _places(adata, model.frame.encoder.genes)
    usual = model.frame.control.mean(0)
    added = []
    for name in levels:
        control = _mean(adata, cells & (level == name).to_numpy(), place, usual)
        if column is None and np.abs(control - model.frame.control[0]).max() < _SAME:
            return []
        added.append(model.add_context(NEW if column is None else name, control))
    return added


def _places(adata: AnnData, genes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the column of each gene of a predictor, -1 where it is not there."""
    resolved, _ = resolve_genes(genes, adata.var)
    names = [str(name) if isinstance(name, str) else "" for name in resolved]
    place = np.asarray(adata.var_names.get_indexer(names), np.int64)
    missing = [gene for gene, column in zip(genes, place) if column < 0]
    if len(missing) > (1 - _FEWEST) * len(genes):
        msg = (
            f"the predictor was trained on {len(genes)} genes; {len(missing)} of them are not in `adata`, such as "
            f"{missing[:3]}. Bring `adata` to the same gene names."
        )
        raise ValueError(msg)
    if missing:
        text = (
            f"{len(missing)} of {len(genes)} genes of the predictor are not in `adata`, such as {missing[:3]}; their "
            "control expression is taken from the training."
        )
        warnings.warn(text, UserWarning, stacklevel=4)
    return place


def _mean(
    adata: AnnData, cells: NDArray[np.bool_], place: NDArray[np.int64], usual: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the mean expression (genes,) of some cells, the usual one where a gene is not measured."""
    known = place >= 0
    matrix = adata.X[np.flatnonzero(cells)][:, place[known]]
    check_finite(matrix, what="`adata.X`")
    control = usual.copy()
    control[known] = np.asarray(sp.csr_matrix(matrix).mean(axis=0)).ravel()
    return control
