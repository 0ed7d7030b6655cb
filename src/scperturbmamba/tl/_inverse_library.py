"""Candidates that were never perturbed in training, by what a forward model predicts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_key
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.hidden_genes import without_share
from scperturbmamba.models.inverse.effects import EffectModel
from scperturbmamba.tl._inverse_fit import columns_of
from scperturbmamba.tl._inverse_stored import Inverse
from scperturbmamba.tl._predict import predict

Library: TypeAlias = AnnData | Sequence[str]


def with_library(trained: Inverse, library: Library | None, carrier: AnnData) -> Inverse:
    """Return the model with more candidates: those of a library that it does not know.

    ``library`` is what ``tl.predict`` returned, or a list of genes that the predictor of ``carrier`` is asked for. With
    masked targets a predicted candidate has no effect on its own transcript.

    Raises
    ------
    TypeError
        The model does not compare effects.
    ValueError
        Genes of the training are missing in the predictions.
    """
    if library is None:
        return trained
    if not isinstance(trained.model, EffectModel):
        msg = (
            f"a library needs a model that compares effects; found {trained.name!r}. Train it: "
            '`spm.tl.train_inverse(adata, model="dictionary")`.'
        )
        raise TypeError(msg)
    predicted = library if isinstance(library, AnnData) else predict(carrier, list(library))
    check_key(predicted, "layers", _keys.DELTA, made_by="spm.tl.predict")
    effects = predicted_effects(predicted, trained)
    known = set(trained.candidates)
    new = [part for part in effects if part not in known]
    if not new:
        return trained
    return replace(
        trained,
        model=trained.model.with_effects(np.array([effects[part] for part in new])),
        posterior=trained.posterior.extended(len(new)),
        candidates=(*trained.candidates, *new),
    )


def predicted_effects(predicted: AnnData, trained: Inverse) -> dict[Part, NDArray[np.float64]]:
    """Return the effect of each predicted single on the genes of the training, averaged over contexts."""
    missing = sorted(set(trained.genes) - set(map(str, predicted.var_names)))
    if missing:
        msg = (
            f"the predictions lack {len(missing)} of the {len(trained.genes)} genes that the inverse model reads, such "
            f"as {missing[:3]}. Train both on the same genes."
        )
        raise ValueError(msg)
    delta = visible_effects(predicted, trained)
    found: dict[Part, list[NDArray[np.float64]]] = {}
    for label, row in zip(predicted.obs[_keys.PERTURBATION].astype(str), delta):
        parts = Condition.parse(label).parts
        if len(parts) == 1:
            found.setdefault(replace(parts[0], kind=""), []).append(row)
    effects = {part: np.mean(rows, axis=0) for part, rows in found.items()}
    if trained.hidden:
        for part, effect in effects.items():
            effect[pd.Index(trained.genes).isin(predicted.var_names[columns_of(predicted, [part.name])])] = 0
    return effects


def visible_effects(predicted: AnnData, trained: Inverse) -> NDArray[np.float64]:
    """Return predicted effects (rows × genes of the training), as if the hidden genes had not been sequenced."""
    delta = np.asarray(predicted.layers[_keys.DELTA], np.float32)
    hidden = np.asarray(predicted.var_names.isin(trained.hidden), dtype=bool)
    order = pd.Index(predicted.var_names).get_indexer(list(trained.genes))
    if not hidden.any() or _keys.CONTROL_LAYER not in predicted.layers:
        return delta[:, order].astype(np.float64)
    control = np.asarray(predicted.layers[_keys.CONTROL_LAYER], np.float32)
    every = np.ones(predicted.n_vars, dtype=bool)
    after = without_share(np.maximum(control + delta, 0), hidden, every)
    return (after - without_share(control, hidden, every))[:, order].astype(np.float64)
