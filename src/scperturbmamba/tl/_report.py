"""What a training found, in numbers and in words."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from scperturbmamba import metrics
from scperturbmamba._settings import settings
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.engine.kernels import describe
from scperturbmamba.engine.task import History
from scperturbmamba.models.trained import Trained
from scperturbmamba.tl._comparison import collapse
from scperturbmamba.tl._model_names import baseline_names, make_baseline
from scperturbmamba.tl._scoring import predict_rows

_log = logging.getLogger("scperturbmamba")


def training_report(model: Trained, data: Bundle) -> dict[str, Any]:
    """Return what can be said after a training.

    ``words``; sizes; fit of training and validation effects; how alike the predictions are; and ``baselines``, a table
    of the squared error on the validation conditions of the predictor and of every baseline, where there are any.
    """
    networks = model.speaker.networks
    report: dict[str, Any] = {
        "words": model.speaker.words(),
        "n_genes": len(data.genes),
        "n_train": int((~data.is_val).sum()),
        "n_val": int(data.is_val.sum()),
        "n_parameters": sum(p.numel() for one in networks for p in one.predictor.parameters()),
        "engine": describe(networks[0].engine) if networks else "none",
        "best_epoch": networks[0].history.best_epoch if networks else -1,
        "stopped": ", ".join(dict.fromkeys(one.history.stopped for one in networks)),
    }
    centre, measured = data.mean_effect(data.training()), np.where(data.known, data.delta, np.nan)
    for side, rows in (("train", data.training()), ("val", np.flatnonzero(data.is_val))):
        predicted = _predict_rows(model, data, rows)
        if len(rows):
            report[f"{side}_pearson_delta"] = float(np.nanmean(metrics.pearson(measured[rows], predicted)))
            report[f"{side}_r2"] = metrics.r2(measured[rows], predicted, centre)
    if data.is_val.any():
        report["baselines"] = _beside_baselines(model, data)
    return report | _collapse(_predict_rows(model, data, data.training()), measured[data.training()])


def show_report(report: dict[str, Any]) -> None:
    """Show the words and the errors of the best baselines beside the bars, where progress is shown."""
    if not settings.progress:
        return
    lines = list(report["words"])
    if "baselines" in report:
        errors = report["baselines"]["mse"]
        best = errors.drop("predictor").sort_values().iloc[:3]
        told = ", ".join(f"{name} {value:.3g}" for name, value in best.items())
        own = f"{report['n_val']} validation conditions: {errors['predictor']:.3g}"
        lines.append(f"mean squared error on {own}; best baselines: {told}")
    tqdm.write("\n".join(lines), file=sys.stderr)


def _beside_baselines(model: Trained, data: Bundle) -> pd.DataFrame:
    """Return the mean squared error on the validation rows (``mse``) of the predictor and of the baselines."""
    rows = np.flatnonzero(data.is_val)
    wanted = pd.DataFrame(
        {
            "label": [data.conditions[row].label for row in rows],
            "context": [data.contexts[data.context[row]] for row in rows],
        }
    )
    truth = np.where(data.known[rows], data.delta[rows], np.nan)
    errors = {"predictor": _predict_rows(model, data, rows)}
    for name in baseline_names(data):
        errors[name] = predict_rows(make_baseline(name).fit(data), data, wanted)
    found = {name: float(np.nanmean(np.square(truth - said))) for name, said in errors.items()}
    return pd.DataFrame({"mse": found})


def _collapse(predicted: NDArray[np.float32], measured: NDArray[np.float32]) -> dict[str, Any]:
    """Return how alike the predictions of training conditions are, and warn where they are nearly one."""
    found = collapse({"trained": predicted}, measured).iloc[0]
    if found["alarm"]:
        _log.warning(
            "the predictions for %d training perturbations are nearly one (mean correlation %.2f, of the measured "
            "effects %.2f; spread %.1f %% of the measured): the predictor acts as the mean. Train longer, or give it "
            "gene features.", len(predicted), found["similarity"], found["measured_similarity"], 100 * found["spread"],
        )  # fmt: skip
    return {name: float(found[name]) for name in ("similarity", "measured_similarity", "spread")} | {
        "collapsed": bool(found["alarm"])
    }


def history_table(histories: Sequence[History]) -> pd.DataFrame:
    """Return what happened in trainings, a row per network and validation."""
    rows = [{"network": number + 1, **row} for number, one in enumerate(histories) for row in one.rows]
    table = pd.DataFrame(rows)
    whole = [name for name in ("network", "epoch", "step") if name in table]
    return table.astype(dict.fromkeys(whole, int)).set_index(table.index.astype(str))


def _predict_rows(model: Trained, data: Bundle, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    result = np.zeros((len(rows), len(data.genes)), np.float32)
    for context in range(len(data.contexts)):
        own = np.flatnonzero(data.context[rows] == context)
        if len(own):
            result[own] = model.predict([data.conditions[row] for row in rows[own]], context=context)
    return result
