"""What a benchmark leaves in a folder for other programs: tables, and JSON in the shape of scModelForge."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scperturbmamba import metrics
from scperturbmamba.tl._truth import Truth

TABLES = ("scores", "summary", "scaled", "comparison", "verdicts", "strata", "collapse", "conditions")


def forge_result(
    effects: NDArray[np.float32],
    mean: NDArray[np.float32],
    truth: Truth,
    *,
    n_top_genes: int,
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a benchmark result with the names of scModelForge's ``PerturbationBenchmark``.

    Metrics are over the ``n_top_genes`` genes of the largest measured effect of each held-out condition; the baseline
    is the training mean ("mean shift"); ``fraction_above_baseline`` is the share of conditions whose correlation is
    higher than the baseline's.
    """
    ours, theirs = (_top_metrics(truth.delta, one, n_top_genes) for one in (effects, mean))
    names = ("pearson_mean", "mse_mean", "direction_accuracy")
    found = {name: _average(one) for name, one in zip(names, ours)}
    found |= {f"baseline_{name}": _average(one) for name, one in zip(names, theirs)}
    found["fraction_above_baseline"] = float(np.mean(ours[0] > theirs[0]))
    return {
        "benchmark_name": "perturbation",
        "dataset_name": metadata["dataset_name"],
        "metrics": found,
        "metadata": {**{key: metadata[key] for key in ("n_cells", "n_perturbations", "n_train", "n_test")},
                     "n_top_genes": n_top_genes},
    }  # fmt: skip


def write_tables(found: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> None:
    """Write every table as CSV and every result as JSON, each under a temporary name first."""
    for name in TABLES:
        table: pd.DataFrame = found[name]
        wide = table.index.name == "model" or name in ("summary", "scaled")
        _write(folder / f"{name}.csv", table.to_csv(index=wide))
    for model, result in results.items():
        _write(folder / "json" / f"{model.replace(':', '-')}.json", json.dumps(result, indent=2))


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it."""
    _write(path, text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _top_metrics(
    truth: NDArray[np.float32], rows: NDArray[np.float32], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    a, b = metrics.on_top_genes(truth, rows, n=n)
    return metrics.pearson(a, b), metrics.mse(a, b), metrics.direction_accuracy(a, b, n_top_genes=n)


def _average(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values))
