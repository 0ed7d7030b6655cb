"""Score effects against held-out effects, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scperturbmamba import metrics
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.kinds import Kinds
from scperturbmamba.models.base import Model
from scperturbmamba.models.baselines import Additive, NoChange, TrainingMean
from scperturbmamba.tl._truth import Truth

BASELINES: Mapping[str, type[NoChange] | type[TrainingMean] | type[Additive]] = {
    "no_change": NoChange,
    "mean": TrainingMean,
    "additive": Additive,
}
METRICS = ("mse", "l2", "pearson_delta", "pearson_delta_centred", "direction_top20")
_HIGHEST = 1000  # L2 is taken over so many genes, those highest in control


def score_rows(
    truth: NDArray[np.float32],
    predicted: NDArray[np.float32],
    *,
    centre: NDArray[np.float32],
    control: NDArray[np.float32],
) -> pd.DataFrame:
    """Return the metrics of each row.

    Parameters
    ----------
    truth, predicted
        (rows × genes) effects.
    centre
        (genes,) mean effect of the training conditions.
    control
        (genes,) mean expression of control cells, which chooses the genes of L2.
    """
    high = np.argsort(-control, kind="stable")[:_HIGHEST]
    return pd.DataFrame(
        {
            "mse": metrics.mse(truth, predicted),
            "l2": metrics.l2(truth[:, high], predicted[:, high]),
            "pearson_delta": metrics.pearson(truth, predicted),
            "pearson_delta_centred": metrics.pearson_centred(truth, predicted, centre),
            "direction_top20": metrics.direction_accuracy(truth, predicted),
        }
    )


def fit_baselines(data: Bundle) -> dict[str, Model]:
    """Return every baseline, fitted."""
    return {name: kind().fit(data) for name, kind in BASELINES.items()}


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Return models × metrics, averaged over conditions, in the order of first appearance."""
    order = list(dict.fromkeys(scores["model"]))
    wide = scores.pivot_table(index="model", columns="metric", values="value", aggfunc="mean", sort=False)
    return wide.reindex(index=order, columns=[name for name in METRICS if name in wide])


def tidy(table: pd.DataFrame, *, model: str, conditions: Sequence[str]) -> pd.DataFrame:
    """Return a row per condition and metric."""
    named = table.assign(perturbation=list(conditions), model=model)
    return named.melt(id_vars=["model", "perturbation"], var_name="metric", value_name="value")


def predict_rows(model: Model, bundle: Bundle, rows: pd.DataFrame) -> NDArray[np.float32]:
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


def score_models(
    models: Mapping[str, NDArray[np.float32]], truth: Truth, place: NDArray[np.int64], bundle: Bundle
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return tidy scores of every model, and the table of the first."""
    centre = bundle.delta[bundle.training()].mean(0)
    tables = {
        name: score_rows(truth.delta[place], rows, centre=centre, control=bundle.control.mean(0))
        for name, rows in models.items()
    }
    names = list(truth.rows.index[place])
    scores = pd.concat([tidy(table, model=name, conditions=names) for name, table in tables.items()], ignore_index=True)
    scores.index = scores.index.astype(str)
    return scores, next(iter(tables.values()))
