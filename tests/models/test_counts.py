import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scperturbmamba.data.bundle_cells import Cells
from scperturbmamba.models.counts import CountModel

torch.set_num_threads(1)

MEANS, DISPERSION = np.array([0.4, 3.0, 20.0, 60.0]), np.array([0.5, 1.0, 2.0, 8.0])


def simulated(n=6_000, seed=0):
    """Control cells of two contexts, the second twice as high, and a row of treated cells."""
    rng = np.random.default_rng(seed)
    row = np.repeat([-1, -2, 0], n)
    size = rng.lognormal(0, 0.4, 3 * n)
    mean = size[:, None] * MEANS * np.where(row == -2, 2.0, 1.0)[:, None]
    mean[row == 0] *= 7
    counts = rng.negative_binomial(DISPERSION, DISPERSION / (DISPERSION + mean))
    return Cells(sp.csr_matrix(counts, dtype=np.float32), size.astype(np.float32), row)


@pytest.fixture(scope="module")
def cells():
    return simulated()


@pytest.fixture(scope="module")
def model(cells):
    return CountModel.fit(cells, 2)


def test_rates_are_those_of_the_control_cells_of_each_context(model):
    np.testing.assert_allclose(np.exp(model.log_rate[0]), MEANS, rtol=0.05)
    np.testing.assert_allclose(np.exp(model.log_rate[1]), 2 * MEANS, rtol=0.05)


def test_dispersions_are_half_shrunk_to_the_median_gene(model):
    truth = np.log(DISPERSION)
    np.testing.assert_allclose(model.log_dispersion, 0.5 * (truth + np.median(truth)), atol=0.12)


def test_rates_are_right_where_cells_are_few_and_small():
    rng = np.random.default_rng(0)
    size = rng.uniform(0.005, 0.015, 30).astype(np.float32)  # 50 to 150 UMIs
    counts = rng.poisson(size[:, None] * np.full(400, 1_000.0))
    fitted = CountModel.fit(Cells(sp.csr_matrix(counts, dtype=np.float32), size, np.full(30, -1)), 1)
    assert np.exp(fitted.log_rate).mean() == pytest.approx(1_000, rel=0.02)


def test_counts_without_excess_get_a_large_dispersion_and_silent_genes_a_finite_one():
    rng = np.random.default_rng(0)
    size = np.ones(3_000, np.float32)
    counts = np.column_stack([rng.poisson(5, 3_000), rng.poisson(9, 3_000), np.zeros(3_000)])
    fitted = CountModel.fit(Cells(sp.csr_matrix(counts, dtype=np.float32), size, np.full(3_000, -1)), 1)
    assert np.isfinite(fitted.log_rate).all() and np.isfinite(fitted.log_dispersion).all()
    assert (fitted.log_dispersion[:2] > np.log(20)).all()
    assert fitted.log_rate[0, 2] < np.log(1e-3)


def test_sizes_are_quantiles_of_all_cells(cells, model):
    np.testing.assert_allclose(model.sizes, np.quantile(cells.size, [0.1, 0.3, 0.5, 0.7, 0.9]), rtol=1e-6)


def test_no_shift_is_no_effect_in_any_context(model):
    nothing = torch.zeros(2, 4)
    log_r = torch.from_numpy(model.log_dispersion).expand(2, 4)
    assert not model.to_delta(nothing, log_r, torch.tensor([0, 1])).any()


def test_an_effect_is_the_change_of_the_mean_of_log_normalised_cells(model):
    shift = torch.tensor([[0.8, -1.0, 0.3, -0.2]])
    log_r = torch.log(torch.tensor([[0.5, 1.0, 2.0, 8.0]]))
    found = model.to_delta(shift, log_r, torch.tensor([1]))[0].numpy()
    rng, n = np.random.default_rng(1), 60_000
    size = rng.choice(model.sizes, n)[:, None].astype(np.float64)

    def mean_of_logs(rate):
        mean = size * rate
        return np.log1p(rng.negative_binomial(DISPERSION, DISPERSION / (DISPERSION + mean)) / size).mean(0)

    base = np.exp(model.log_rate[1].astype(np.float64))
    expected = mean_of_logs(base * np.exp(shift[0].numpy())) - mean_of_logs(base)
    np.testing.assert_allclose(found, expected, atol=0.03)
