"""Worlds made by hand, in which effects add up and noise is normal."""

import numpy as np
import pytest

from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.inverse_data import InverseData


@pytest.fixture
def additive():
    """Return a maker of cells: a control and candidates whose effects are as strong as asked for."""

    def make(*, n_candidates=6, n_genes=30, cells=60, strength=1.5, seed=0, n_batches=1, weak=0):
        rng = np.random.default_rng(seed)
        effects = strength * rng.normal(size=(n_candidates, n_genes)) * (rng.random((n_candidates, n_genes)) < 0.4)
        effects[n_candidates - weak :] = 0
        names = [f"G{number}" for number in range(n_candidates)]
        condition = np.repeat(np.arange(n_candidates + 1), cells)
        batch = rng.integers(n_batches, size=len(condition))
        mean = np.vstack([np.zeros(n_genes), effects])[condition] + 3
        x = mean + rng.normal(size=mean.shape) * rng.uniform(0.5, 1.5, n_genes)
        data = InverseData(
            genes=tuple(f"M{number:02d}" for number in range(n_genes)),
            x=x.astype(np.float32),
            condition=condition,
            conditions=(Condition(), *(Condition.of(name) for name in names)),
            candidates=tuple(Part(name) for name in names),
            batch=batch,
            is_val=np.zeros(len(condition), dtype=bool),
        )
        return data, effects

    return make
