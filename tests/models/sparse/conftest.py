"""A world in which genes have features, and perturbations of alike genes change alike genes."""

from dataclasses import replace

import numpy as np
import pytest

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.covariates import Covariates
from scperturbmamba.data.feature_tables import FeatureTable

N_TRAIN, N_TEST, N_GENES, WIDTH = 120, 40, 60, 6


def _world(*, calls=True, seed=0, known=0.3):
    """Return a bundle with gaps over the training perturbations, and the truth of the others (test × genes)."""
    rng = np.random.default_rng(seed)
    genes = tuple(f"G{number:03d}" for number in range(N_GENES))
    targets = tuple(f"T{number:03d}" for number in range(N_TRAIN + N_TEST))
    features = rng.normal(size=(N_GENES + len(targets), WIDTH))
    read, done = features[:N_GENES], features[N_GENES:]
    effects = 1.2 * done @ rng.normal(size=(WIDTH, WIDTH)) @ read.T / WIDTH**0.5 + rng.normal(0, 1, N_GENES)
    truth = (
        (rng.random(effects.shape) < 1 / (1 + np.exp(-effects)))
        if calls
        else effects + rng.normal(0, 0.5, effects.shape)
    )
    truth = truth.astype(np.float32)
    weight = (rng.random((N_TRAIN, N_GENES)) < known).astype(np.float32)
    names = (*genes, *targets)
    values = np.hstack([features, np.ones((len(names), 1))]).astype(np.float32)
    columns = (*(f"number{place}" for place in range(WIDTH)), "known")
    data = Bundle(
        genes=genes,
        conditions=tuple(Condition.of(name, kind="CRISPRi") for name in targets[:N_TRAIN]),
        context=np.zeros(N_TRAIN, np.int64),
        contexts=("all",),
        delta=truth[:N_TRAIN] * weight,
        se=np.full((N_TRAIN, N_GENES), np.nan, np.float32),
        n_cells=np.ones(N_TRAIN, np.int64),
        is_val=np.zeros(N_TRAIN, bool),
        control=np.zeros((1, N_GENES), np.float32),
        covariates=Covariates((), np.zeros((N_TRAIN, 0), np.float32), np.zeros(0, np.float32)),
        features=(FeatureTable("known_facts", names, columns, values, "hash"),),
        weight=weight,
    )
    return data, [Condition.of(name, kind="CRISPRi") for name in targets[N_TRAIN:]], truth[N_TRAIN:]


@pytest.fixture(scope="session")
def make_world():
    return _world


@pytest.fixture(scope="session")
def without_features():
    """Return a bundle whose tables no longer describe some genes."""

    def change(data, names):
        (table,) = data.features
        keep = [row for row, name in enumerate(table.names) if name not in names]
        kept = replace(table, names=tuple(table.names[row] for row in keep), values=table.values[keep])
        return replace(data, features=(kept,))

    return change
