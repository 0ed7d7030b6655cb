"""A bundle made by hand: 12 genes on two chromosomes, single and double conditions, two contexts."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.bundle_cells import Cells
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.covariates import Covariates
from scperturbmamba.data.feature_tables import FeatureTable

GENES = tuple(f"G{number:02d}" for number in range(12))
OUTSIDE = ("OUT1", "OUT2")
TRAIN = [
    ("G00", 0),
    ("G01", 0),
    ("G02", 0),
    ("G03", 0),
    ("G00+G01", 0),
    ("OUT1", 0),
    ("G00", 1),
    ("G01", 1),
    ("G02", 1),
]
VAL = [("G04", 0), ("G02+G03", 0), ("G04", 1)]
N_CELLS = 100


def _tables(seed=0):
    rng = np.random.default_rng(seed)
    names = (*GENES, *OUTSIDE)
    chromosome = np.array([1, 0] * 6 + [3, 24], np.float32)
    locus = rng.permutation(14).astype(np.float32) / 14
    waves = np.column_stack([np.sin(6 * locus), np.cos(6 * locus)])
    position = np.column_stack([chromosome, locus, waves, np.ones(14)]).astype(np.float32)
    pathway = rng.normal(2, 3, (14, 3)).astype(np.float32)
    known = np.ones((14, 1), np.float32)
    known[[5, 13]] = 0
    pathway[[5, 13]] = 0
    code = rng.normal(size=(14, 4)).astype(np.float32)
    return (
        FeatureTable("identity", names, ("c1", "c2", "c3", "c4"), code, "hash-i"),
        FeatureTable("pathway", names, ("p1", "p2", "p3", "known"), np.hstack([pathway, known]), "hash-p"),
        FeatureTable("position", names, ("chromosome", "locus", "sin1", "cos1", "known"), position, "hash-o"),
    )


def _cells(rows, context, rng):
    """100 cells per row, 300 control cells in each of the two contexts."""
    row = np.concatenate([np.repeat(np.arange(len(rows)), N_CELLS), np.full(300, -1), np.full(300, -2)])
    size = rng.lognormal(-2, 0.3, len(row)).astype(np.float32)
    base = np.exp(np.linspace(1, 4, 12))
    level = np.where(row >= 0, context[row], -1 - row)
    rate = base * np.where(level == 1, 1.5, 1.0)[:, None]
    rate[row >= 0] *= np.exp(0.5 * rows[row[row >= 0]])
    mean = size[:, None] * rate
    counts = rng.negative_binomial(2.0, 2.0 / (2.0 + mean))
    return Cells(sp.csr_matrix(counts, dtype=np.float32), size, row)


def _bundle(*, features=True, cells=False, covariates=False, kind="CRISPRi"):
    rng = np.random.default_rng(1)
    rows = [*TRAIN, *VAL]
    delta = rng.normal(0, 0.5, (len(rows), 12)).astype(np.float32)
    context = np.array([level for _, level in rows])
    names = ("depth",) if covariates else ()
    told = Covariates(
        names, rng.normal(size=(len(rows), len(names))).astype(np.float32), np.full(len(names), 0.3, np.float32)
    )
    return Bundle(
        genes=GENES,
        conditions=tuple(Condition.parse(label).with_kind(kind) for label, _ in rows),
        context=context,
        contexts=("A", "B"),
        delta=delta,
        se=np.full_like(delta, 0.1),
        n_cells=np.arange(10, 10 + len(rows)),
        is_val=np.arange(len(rows)) >= len(TRAIN),
        control=rng.gamma(2, 1, (2, 12)).astype(np.float32),
        covariates=told,
        features=_tables() if features else (),
        cells=_cells(delta, context, rng) if cells else None,
    )


@pytest.fixture
def make_bundle():
    return _bundle


@pytest.fixture
def bundle():
    return _bundle()


@pytest.fixture
def make_tables():
    return _tables


@pytest.fixture
def permuted():
    """Return the bundle with its genes in another order."""

    def change(data, order):
        genes = tuple(data.genes[place] for place in order)
        rows = np.concatenate([order, np.arange(len(order), len(order) + len(OUTSIDE))])
        tables = tuple(
            replace(table, names=tuple(table.names[row] for row in rows), values=table.values[rows])
            for table in data.features
        )
        cells = None
        if data.cells is not None:
            cells = replace(data.cells, counts=data.cells.counts[:, order])
        changed = {"delta": data.delta[:, order], "se": data.se[:, order], "control": data.control[:, order]}
        return replace(data, genes=genes, features=tables, cells=cells, **changed)

    return change
