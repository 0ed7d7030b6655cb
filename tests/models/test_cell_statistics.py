"""The likelihood of all cells of a row, against the sum over its cells."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scperturbmamba.data.bundle_cells import Cells
from scperturbmamba.engine.likelihood import nb_log_likelihood
from scperturbmamba.models.cell_statistics import cell_statistics

torch.set_num_threads(1)

N_GENES = 30


def world(n_cells=80, *, spread=0.5, seed=0, n_rows=3):
    """Cells of rows and of controls, with genes from silent to loud."""
    rng = np.random.default_rng(seed)
    size = np.exp(rng.normal(0, spread, n_cells)).astype(np.float32)
    rate, r = np.exp(rng.normal(0, 3, N_GENES)), np.exp(rng.normal(0.5, 0.7, N_GENES))
    counts = rng.negative_binomial(r, r / (r + size[:, None] * rate))
    row = rng.integers(-2, n_rows, n_cells)
    return Cells(sp.csr_matrix(counts.astype(np.float32)), size, row), np.log(rate), np.log(r)


def both_ways(cells, log_rate, log_r, rows, order):
    """Values and gradients from the statistics and from the cells themselves."""
    statistics = cell_statistics(cells, 3, order)
    results = []
    for form in ("statistics", "cells"):
        m, d = (torch.tensor(np.tile(one[order], (len(rows), 1))).requires_grad_() for one in (log_rate, log_r))
        if form == "statistics":
            values = statistics.mean_log_likelihood(torch.tensor(rows), m, d)
        else:
            values = torch.stack([of_cells(cells, row, order, m[k], d[k]) for k, row in enumerate(rows)])
        weight = torch.arange(1.0, len(rows) + 1, dtype=torch.float64)
        results.append([values.detach(), *torch.autograd.grad((weight * values).sum(), (m, d))])
    return results


def of_cells(cells, row, order, log_rate, log_r):
    some = cells.row == row
    counts = torch.from_numpy(cells.counts[some].toarray()[:, order].astype(np.float64))
    mean = torch.from_numpy(cells.size[some].astype(np.float64))[:, None] * torch.exp(log_rate)
    return nb_log_likelihood(counts, mean, torch.exp(log_r)).mean()


def compare(found, expected):
    """Gradients are exact; a value is the small difference of large sums where genes are loud."""
    for one, other, limit in zip(found, expected, (1e-4, 2e-6, 2e-6)):
        assert float((one - other).abs().max() / other.abs().max()) <= limit


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5, 1.2])
def test_values_and_gradients_are_those_of_the_sum_over_cells(spread):
    cells, log_rate, log_r = world(spread=spread)
    order = np.random.default_rng(1).permutation(N_GENES)
    found, expected = both_ways(cells, log_rate, log_r, [2, 0, 1, 0], order)
    compare(found, expected)


def test_the_value_is_scipy_s():
    cells, log_rate, log_r = world()
    order = np.arange(N_GENES)
    found = cell_statistics(cells, 3, order).mean_log_likelihood(
        torch.tensor([1]), torch.tensor(log_rate[None]), torch.tensor(log_r[None])
    )
    some = cells.row == 1
    mean, r = cells.size[some][:, None] * np.exp(log_rate), np.exp(log_r)
    expected = stats.nbinom(r, r / (r + mean)).logpmf(cells.counts[some].toarray()).mean()
    assert float(found) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_any_cells_at_all_are_added_up_rightly(seed, n_cells):
    cells, log_rate, log_r = world(n_cells, seed=seed)
    rows = sorted({int(row) for row in cells.row if row >= 0})
    if rows:
        found, expected = both_ways(cells, log_rate, log_r, rows, np.arange(N_GENES))
        compare(found, expected)


def test_what_is_kept_does_not_grow_with_the_number_of_cells():
    few, many = (cell_statistics(world(n, spread=0.0)[0], 3, np.arange(N_GENES)) for n in (100, 10_000))
    assert few.counts_at.shape == many.counts_at.shape
    assert len(many.gene) < 10_000 * N_GENES / 20


def test_a_row_without_cells_stands_in_nobody_s_way():
    cells, log_rate, log_r = world()
    cells.row[cells.row == 1] = -1
    found, expected = both_ways(cells, log_rate, log_r, [0, 2], np.arange(N_GENES))
    assert torch.allclose(found[0], expected[0], rtol=1e-6)


def test_counts_beyond_the_table_are_counted_one_by_one():
    counts = sp.csr_matrix(np.array([[0, 7, 8, 70_000], [1, 7, 9, 70_000], [0, 0, 8, 3]], np.float32))
    found = cell_statistics(Cells(counts, np.ones(3, np.float32), np.zeros(3, np.int64)), 1, np.arange(4))
    pairs = sorted(zip(found.gene.tolist(), found.value.tolist(), found.times.tolist()))
    assert pairs == [(0, 1, 1), (1, 7, 2), (2, 8, 2), (2, 9, 1), (3, 3, 1), (3, 70_000, 2)]
