"""What a training found, in numbers, and how well a request is supported."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from scperturbmamba import _keys, metrics
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.engine.kernels import describe
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.tl._comparison import collapse

_log = logging.getLogger("scperturbmamba")


def training_report(model: BiMamba, data: Bundle) -> dict[str, Any]:
    """Return a flat report: sizes, fit of training and validation effects, and how alike the predictions are."""
    report: dict[str, Any] = {
        "n_genes": len(data.genes),
        "n_train": int((~data.is_val).sum()),
        "n_val": int(data.is_val.sum()),
        "n_parameters": sum(p.numel() for p in model.predictor.parameters()),
        "engine": describe(model.engine),
        "best_epoch": model.history.best_epoch,
        "stopped": model.history.stopped,
    }
    centre, measured = data.mean_effect(data.training()), np.where(data.known, data.delta, np.nan)
    for side, rows in (("train", data.training()), ("val", np.flatnonzero(data.is_val))):
        predicted = _predict_rows(model, data, rows)
        if len(rows):
            report[f"{side}_pearson_delta"] = float(np.nanmean(metrics.pearson(measured[rows], predicted)))
            report[f"{side}_r2"] = metrics.r2(measured[rows], predicted, centre)
    report |= _collapse(_predict_rows(model, data, data.training()), measured[data.training()])
    return report


def _collapse(predicted: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    """Return how alike the predictions of training conditions are, and warn where they are nearly one."""
    found = collapse({"trained": predicted}, measured).iloc[0]
    if found["alarm"]:
        _log.warning(
            "the predictions for %d training perturbations are nearly one (mean correlation %.2f, of the measured "
            "effects %.2f; spread %.1f %% of the measured): the network acts as the mean. Train longer, or give it "
            "gene features.", len(predicted), found["similarity"], found["measured_similarity"], 100 * found["spread"],
        )  # fmt: skip
    return {name: float(found[name]) for name in ("similarity", "measured_similarity", "spread")} | {
        "collapsed": bool(found["alarm"])
    }


def history_table(model: BiMamba) -> pd.DataFrame:
    """Return the history of a training, a row per validation."""
    table = pd.DataFrame(model.history.rows)
    whole = [name for name in ("epoch", "step") if name in table]
    return table.astype(dict.fromkeys(whole, int)).set_index(table.index.astype(str))


def support(model: BiMamba, condition: Condition, n_train_cells: int) -> str:
    """Return on what a prediction rests: ``seen``, ``parts seen``, ``features`` or ``none``."""
    if n_train_cells > 0 or condition.is_control:
        return "seen"
    if all(part.name in model.encoder.parts for part in condition.parts):
        return "parts seen"
    known = [part.name in model.encoder.parts or model.encoder.has_features(part) for part in condition.parts]
    return "features" if all(known) else "none"


def row_table(model: BiMamba, rows: Sequence[tuple[Condition, int]]) -> pd.DataFrame:
    """Return the obs of predictions: a row per condition and context."""
    labels = [model.kinds.label(condition) for condition, _ in rows]
    names = [model.contexts[level] for _, level in rows]
    cells = [model.seen.get(key, 0) for key in zip(labels, names)]
    several = len(set(names)) > 1
    index = [f"{label} | {name}" if several else label for label, name in zip(labels, names)]
    return pd.DataFrame(
        {
            _keys.PERTURBATION: pd.Categorical(labels),
            "context": pd.Categorical(names),
            "seen": [n > 0 for n in cells],
            "n_train_cells": cells,
            "support": pd.Categorical([support(model, condition, n) for (condition, _), n in zip(rows, cells)]),
        },
        index=index,
    )


def _predict_rows(model: BiMamba, data: Bundle, rows: np.ndarray) -> np.ndarray:
    result = np.zeros((len(rows), len(data.genes)), np.float32)
    for context in range(len(data.contexts)):
        own = np.flatnonzero(data.context[rows] == context)
        if len(own):
            result[own] = model.predict([data.conditions[row] for row in rows[own]], context=context)
    return result
