"""Score effects against held-out effects."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scperturbmamba._judging import ALL_GENES, NO_TARGET
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.kinds import Kinds
from scperturbmamba.models.base import KnowsControl, Predicts
from scperturbmamba.models.part_effects import in_every_context
from scperturbmamba.tl._metric_table import METRICS, Reference, score_rows
from scperturbmamba.tl._truth import Truth


def predict_rows(model: Predicts, bundle: Bundle, rows: pd.DataFrame) -> NDArray[np.float32]:
    """Predict labels in their contexts, with the kinds that the screen gives them."""
    kinds = Kinds.of(bundle.conditions)
    result = np.zeros((len(rows), len(bundle.genes)), np.float32)
    for number, context in enumerate(bundle.contexts):
        own = np.flatnonzero((rows["context"] == context).to_numpy())
        labels = rows["label"].iloc[own]
        wanted = [kinds.complete(Condition.parse(label)) for label in labels]
        if len(own):
            result[own] = model.predict(wanted, context=number)
    return result


def expression_rows(
    model: Predicts, bundle: Bundle, rows: pd.DataFrame, effects: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """Return the expression (rows × genes) that effects lead to; None where they start from the measured control."""
    if not isinstance(model, KnowsControl):
        return None
    place = {name: number for number, name in enumerate(bundle.contexts)}
    return effects + model.control[[place[name] for name in rows["context"]]]


def reference_of(bundle: Bundle, rows: pd.DataFrame) -> Reference:
    """Return what rows in contexts of the bundle are measured by."""
    place = rows["context"].map({name: number for number, name in enumerate(bundle.contexts)}).to_numpy(np.int64)
    means = np.stack([seen.mean for seen in in_every_context(bundle)])
    gene = {name: number for number, name in enumerate(bundle.genes)}
    targets = np.zeros((len(rows), len(bundle.genes)), bool)
    for row, label in enumerate(rows["label"]):
        targets[row, [gene[name] for name in Condition.parse(label).names if name in gene]] = True
    return Reference(means[place], bundle.control[place], targets)


def score_models(
    models: Mapping[str, NDArray[np.float32]],
    truth: Truth,
    reference: Reference,
    expression: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return tidy scores of every model, with and without the perturbed genes, and the table of the first with them.

    ``expression`` holds that of models for which it is not the training control plus the effect.
    """
    tables = {
        (name, genes): score_rows(
            truth, rows, reference, expression=expression.get(name), with_targets=genes == ALL_GENES
        )
        for name, rows in models.items()
        for genes in (ALL_GENES, NO_TARGET)
    }
    keys = {"perturbation": truth.rows["label"].to_numpy(), "context": truth.rows["context"].to_numpy()}
    tidy = [
        table.assign(model=model, genes=genes, **keys).melt(["model", "genes", *keys], var_name="metric")
        for (model, genes), table in tables.items()
    ]
    scores = pd.concat(tidy, ignore_index=True)
    scores.index = scores.index.astype(str)
    return scores, next(iter(tables.values()))


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Return models × metrics, averaged over conditions, with the perturbed genes, in the order of appearance."""
    order = list(dict.fromkeys(scores["model"]))
    some = scores[scores["genes"] == ALL_GENES]
    wide = some.pivot_table(index="model", columns="metric", values="value", aggfunc="mean", sort=False)
    return wide.reindex(index=order, columns=[name for name in METRICS if name in wide])
