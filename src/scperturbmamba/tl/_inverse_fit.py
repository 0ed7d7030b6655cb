"""Fit a model of the inverse task and calibrate it, on cells that are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys, metrics
from scperturbmamba.data.conditions import Condition, part_names
from scperturbmamba.data.feature_tables import gene_sources, read_features
from scperturbmamba.data.inverse_data import InverseData, View, control_centre, read_inverse
from scperturbmamba.data.modelled_genes import modelled_genes
from scperturbmamba.features.names import resolve_genes
from scperturbmamba.models.inverse.held_out import (
    SIZES,
    HeldOut,
    calibrate,
    cross_fitted,
    held_out_scores,
    validate,
)
from scperturbmamba.models.inverse.networks import InverseNetwork
from scperturbmamba.tl._inverse_models import make_model
from scperturbmamba.tl._inverse_stored import Inverse
from scperturbmamba.tl._progress import training_callbacks

TARGETS: Final = "targets"
MASKS: Final = (TARGETS, None)


@dataclass(frozen=True)
class Fitted:
    """A trained model, the cells it was trained on, and what it said of held-out ones."""

    inverse: Inverse
    data: InverseData
    held: HeldOut


def view_of(adata: AnnData, mask: str | None, batch: str | None) -> View:
    """Return which genes a model sees: with ``"targets"``, none that is perturbed anywhere in the screen."""
    hidden = target_columns(adata) if mask == TARGETS else np.zeros(adata.n_vars, dtype=bool)
    kept = modelled_genes(adata) & ~hidden
    if not kept.any():
        msg = (
            "every gene of this panel is perturbed somewhere in the screen, so that nothing is left to read. "
            "Pass `mask=None`, which shows the perturbed genes themselves, and say so beside every number."
        )
        raise ValueError(msg)
    return View(hidden, kept, batch)


def target_columns(adata: AnnData) -> NDArray[np.bool_]:
    """Return (variables,): the gene is perturbed in some condition, under whichever of its names."""
    labels = adata.obs[_keys.PERTURBATION].dropna().astype(str).unique()
    names = part_names(Condition.parse(label) for label in labels)
    return columns_of(adata, names)


def columns_of(adata: AnnData, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return (variables,): one of these genes, by symbol, alias or Ensembl id."""
    resolved, _ = resolve_genes(list(names), adata.var) if len(names) else (pd.Series(dtype=object), None)
    return np.asarray(adata.var_names.isin([one for one in resolved if isinstance(one, str)]), dtype=bool)


def fit_inverse(
    adata: AnnData,
    name: str,
    config: Mapping[str, Any],
    view: View,
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    random_state: int,
) -> Fitted:
    """Train on the cells of the first side, calibrate on the second, or on held-out folds of the first without one."""
    tables = read_features(adata, gene_sources(adata), view.kept)
    data = read_inverse(adata, view, train=sides[0], val=sides[1], features=tables)
    if not (data.is_val & (data.condition != data.control)).any():
        data = replace(data, is_val=np.zeros_like(data.is_val))
    rng = np.random.default_rng(random_state)
    model = make_model(name, config, random_state)
    if isinstance(model, InverseNetwork):
        validated = validate(data, rng)
        model.fit(validated, callbacks=training_callbacks(model.config.epochs))
        held = held_out_scores(model, validated, rng)
        if not data.is_val.any() and model.history.stopped != "interrupted":
            model = model.refitted(data, callbacks=training_callbacks(model.history.best_epoch, "network, all cells"))
    else:
        model.fit(data)
        if data.is_val.any():
            held = held_out_scores(model, data, rng)
        else:
            held = cross_fitted(lambda: make_model(name, config, random_state), data, rng)
    control = data.condition == data.control
    inverse = Inverse(
        name=name,
        model=model,
        posterior=calibrate(held, data, rng),
        genes=data.genes,
        hidden=tuple(map(str, adata.var_names[view.hidden])),
        candidates=data.candidates,
        batch=view.batch,
        centre=control_centre(data.x, data.batch, control),
    )
    return Fitted(inverse, data, held)


def candidate_table(fitted: Fitted) -> pd.DataFrame:
    """Return a row per candidate: its cells, how much of its effect is no noise, and from where on it is called."""
    answer, posterior = fitted.data.answer, fitted.inverse.posterior
    table = pd.DataFrame(index=pd.Index([part.label for part in fitted.inverse.candidates], name=None))
    table["n_cells"] = [int((answer == place).sum()) for place in range(len(table))]
    table["reliability"] = posterior.reliability
    table["detectable"] = posterior.detectable
    table["threshold"] = posterior.thresholds
    return table


def held_out_table(fitted: Fitted) -> pd.DataFrame:
    """Return how held-out profiles of the training side are ranked, a row per number of cells."""
    held, n = fitted.held, len(fitted.inverse.candidates)
    rows = []
    for place, size in enumerate(SIZES):
        some = (held.size == place) & (held.answer >= 0)
        truth, scores = np.eye(n)[held.answer[some]], held.scores[some]
        row: dict[str, Any] = {"cells": str(size), "n_profiles": int(some.sum()), "n_candidates": n}
        for name, found in (("", scores), ("chance_", np.zeros_like(scores))):
            row[f"{name}top1"] = _mean(metrics.hit_at_k(truth, found)) if some.any() else np.nan
            row[f"{name}mrr"] = _mean(metrics.reciprocal_rank(truth, found)) if some.any() else np.nan
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.set_index(table.index.astype(str))


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values))
