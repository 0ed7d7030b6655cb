"""What training the default predictor takes: the core alone, and core, gate folds and networks together.

``python benchmarks/predictor.py [--quick] [--json FILE] [--page FILE]``. Effects are random numbers of low rank with
noise; nothing is learned here but how long it takes. The largest case is timed for a few steps of one network and told
as what all its networks would take.
"""

from __future__ import annotations

import time

import numpy as np
from _measure import Row, in_fresh_process, options, peak_mb, report

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.covariates import Covariates
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.residual import Residual, residual_config, short
from scperturbmamba.models.residual_inputs import told_of
from scperturbmamba.models.trained import Trained

_SOURCES, _WIDTH, _RANK = 5, 100, 30
_STEPS = 10  # of one network, where all of them would take too long


def bundle(n_perturbations: int, n_genes: int) -> Bundle:
    """Return effects of low rank with noise, and five feature tables, one of which tells of them."""
    rng = np.random.default_rng(0)
    genes = tuple(f"G{number}" for number in range(n_genes))
    tables = [rng.normal(size=(n_genes, _WIDTH)).astype(np.float32) for _ in range(_SOURCES)]
    signal = tables[0][:n_perturbations] @ rng.normal(size=(_WIDTH, _RANK)) @ rng.normal(size=(_RANK, n_genes)) * 0.002
    delta = (signal + 0.1 * rng.normal(size=signal.shape)).astype(np.float32)
    n = len(delta)
    columns = tuple(map(str, range(_WIDTH)))
    return Bundle(
        genes=genes,
        conditions=tuple(Condition.of(name) for name in genes[:n]),
        context=np.zeros(n, np.int64),
        contexts=("all",),
        delta=delta,
        se=np.full_like(delta, 0.1),
        n_cells=np.full(n, 100),
        is_val=np.arange(n) >= 0.9 * n,
        control=rng.gamma(1, 1, (1, n_genes)).astype(np.float32),
        covariates=Covariates((), np.zeros((n, 0), np.float32), np.zeros(0, np.float32)),
        features=tuple(FeatureTable(f"t{k}", genes, columns, one, "x") for k, one in enumerate(tables)),
    )


def core(n_perturbations: int, n_genes: int) -> tuple[float, float]:
    """Return seconds and peak memory (MB) of the core."""
    data, before = bundle(n_perturbations, n_genes), peak_mb()
    start = time.perf_counter()
    Knowledge().fit(data)
    return time.perf_counter() - start, peak_mb() - before


def whole(n_perturbations: int, n_genes: int) -> float:
    """Return the seconds of the default."""
    data = bundle(n_perturbations, n_genes)
    start = time.perf_counter()
    Trained.of(data, NetConfig(), TrainConfig())
    return time.perf_counter() - start


def one_network(n_perturbations: int, n_genes: int) -> tuple[float, int, int]:
    """Return the seconds of a step of one network, the steps of a training, and the trainings of the default."""
    data, training = bundle(n_perturbations, n_genes), TrainConfig()
    residual = Residual(residual_config(NetConfig(), n_genes), training)
    residual.genes, residual.frame, residual.scale = data.genes, Frame.of(data), float(data.delta.std())
    told = told_of(data, Knowledge().fit(data), residual.scale)
    n_train = len(data.training())
    per_epoch = -(-n_train // training.batch_conditions)
    few = data.take(
        np.concatenate([data.training()[: _STEPS * training.batch_conditions], np.flatnonzero(data.is_val)[:4]])
    )
    kept = np.concatenate([np.arange(_STEPS * training.batch_conditions), np.flatnonzero(data.is_val)[:4]])
    told = type(told)(told.base[kept], told.pairs[kept], told.centre, told.importance[kept])
    network = residual._network("one", 0, n_train)
    network.training = training.model_copy(update={"epochs": 1, "every_n_epochs": 1})
    start = time.perf_counter()
    network.fit(few, frame=residual.frame, told=told)
    seconds = (time.perf_counter() - start) / _STEPS
    return seconds, short(training, n_train).epochs * per_epoch, training.seeds + training.folds


def main() -> None:
    """Time every case, print, and write what was asked for."""
    given = options(__doc__, quick="small cases")
    small, large = ((40, 100), (200, 1600)) if given.quick else ((100, 500), (2000, 5000))
    seconds, memory = in_fresh_process(core, *large)
    name = f"core, {large[0]} × {large[1]}, {_SOURCES} sources"
    rows = [
        Row(f"{name}: seconds", "at most 60", f"{seconds:.1f} s", seconds <= 60),
        Row(f"{name}: memory", "at most 4 GB", f"{memory / 1000:.2f} GB", memory <= 4000),
    ]
    seconds = in_fresh_process(whole, *small)
    rows.append(Row(f"default, {small[0]} × {small[1]}", "at most 300 s", f"{seconds:.0f} s", seconds <= 300))
    step, steps, trainings = in_fresh_process(one_network, *large)
    minutes = step * steps * trainings / 60
    told = f"{step:.2f} s a step; {trainings} trainings of {steps} steps would take {minutes:.0f} min (estimated)"
    rows.append(
        Row(
            f"networks of the default, {large[0]} × {large[1]}, 8 genes to a token",
            "at most 40 min",
            told,
            minutes <= 40,
        )
    )
    report(rows, given, title="Training the predictor")


if __name__ == "__main__":
    main()
