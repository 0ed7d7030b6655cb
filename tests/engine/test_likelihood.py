import numpy as np
import pytest
import torch
from scipy import stats

from scperturbmamba.engine.likelihood import nb_expected_log1p, nb_log_likelihood, nb_sample

torch.set_num_threads(1)


def distribution(mean, r):
    return stats.nbinom(r, r / (r + mean))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_the_likelihood_is_scipy_s(dtype, tolerance):
    counts, mean, r = torch.meshgrid(
        torch.tensor([0.0, 1, 2, 7, 50, 400]),
        torch.tensor([1e-4, 0.03, 1, 20, 300]),
        torch.tensor([0.02, 0.3, 1, 8, 300]),
        indexing="ij",
    )
    found = nb_log_likelihood(counts.to(dtype), mean.to(dtype), r.to(dtype)).double().numpy()
    expected = distribution(mean.double().numpy(), r.double().numpy()).logpmf(counts.double().numpy())
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=10 * tolerance)


def test_a_count_of_zero_where_nothing_is_expected_is_certain():
    assert float(nb_log_likelihood(torch.zeros(()), torch.zeros(()), torch.ones(()))) == 0
    assert float(nb_log_likelihood(torch.ones(()), torch.zeros(()), torch.ones(()))) == -np.inf


def test_shapes_broadcast_and_gradients_are_finite_at_zero_counts():
    counts = torch.zeros(2, 3, 4)
    mean, r = torch.full((2, 1, 4), 1e-8, requires_grad=True), torch.ones(4, requires_grad=True)
    like = nb_log_likelihood(counts, mean, r)
    assert like.shape == (2, 3, 4)
    like.sum().backward()
    assert mean.grad.isfinite().all() and r.grad.isfinite().all()


def test_the_likelihood_is_highest_at_the_truth():
    counts = torch.from_numpy(distribution(4.0, 2.0).rvs(20_000, random_state=0)).double()
    grid = torch.tensor([1.0, 3.0, 4.0, 5.0, 9.0], dtype=torch.float64)
    best_mean = nb_log_likelihood(counts, grid[:, None], torch.tensor(2.0)).mean(1).argmax()
    assert grid[best_mean] == 4
    grid = torch.tensor([0.5, 1.5, 2.0, 3.0, 9.0], dtype=torch.float64)
    best_r = nb_log_likelihood(counts, torch.tensor(4.0), grid[:, None]).mean(1).argmax()
    assert grid[best_r] == 2


def brute_force(rate, r, size):
    """Sum over all counts up to one that is exceeded once in ten million times."""
    truth = distribution(rate * size, r)
    counts = np.arange(int(truth.isf(1e-7)) + 2)
    return float(truth.pmf(counts) @ np.log1p(counts / size))


@pytest.mark.parametrize("size", [0.05, 1.0, 3.0])
@pytest.mark.parametrize("r", [0.05, 0.5, 1.0, 5.0, 100.0])
def test_the_expectation_is_the_sum_over_all_counts(size, r):
    rates = [1e-3, 0.1, 1.0, 10.0, 40.0, 100.0, 300.0, 2_000.0]
    found = nb_expected_log1p(torch.tensor(rates), torch.full((8,), r), torch.tensor([size]))
    expected = [brute_force(rate, r, size) for rate in rates]
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-3, atol=1e-4)


def test_the_expectation_is_that_of_simulated_cells():
    sizes = np.array([0.4, 1.0, 2.5])
    rng = np.random.default_rng(0)
    for rate, r in ((0.5, 0.7), (30.0, 2.0), (200.0, 0.8)):
        size = rng.choice(sizes, 200_000)
        cells = np.log1p(rng.negative_binomial(r, r / (r + rate * size)) / size)
        error = cells.std() / np.sqrt(len(cells))
        found = float(nb_expected_log1p(torch.tensor([rate]), torch.tensor([r]), torch.from_numpy(sizes).float())[0])
        assert found == pytest.approx(cells.mean(), abs=5 * error + 1e-3)


def test_the_expectation_rises_with_the_rate_without_a_step_where_the_tail_begins():
    rates = torch.linspace(1, 400, 2_000, dtype=torch.float64)
    found = nb_expected_log1p(rates, torch.full_like(rates, 3.0), torch.tensor([1.0]))
    steps = found.diff()
    assert (steps > 0).all()
    assert (steps[1:] / steps[:-1]).sub(1).abs().max() < 0.2


def test_the_expectation_keeps_the_shape_and_averages_over_sizes():
    rates, r = torch.rand(3, 4) * 5, torch.rand(3, 4) + 0.5
    sizes = torch.tensor([0.5, 2.0])
    both = nb_expected_log1p(rates, r, sizes)
    assert both.shape == (3, 4)
    torch.testing.assert_close(
        both, (nb_expected_log1p(rates, r, sizes[:1]) + nb_expected_log1p(rates, r, sizes[1:])) / 2
    )


@pytest.mark.parametrize(("mean", "r"), [(0.2, 0.3), (3.0, 1.0), (40.0, 5.0), (5.0, 1_000.0)])
def test_samples_have_the_moments_and_the_zeros_of_the_distribution(mean, r):
    n = 60_000
    counts = nb_sample(torch.full((n,), mean), torch.tensor(r), torch.Generator().manual_seed(0)).numpy()
    truth = distribution(mean, r)
    assert (counts >= 0).all() and (counts == np.rint(counts)).all()
    assert counts.mean() == pytest.approx(truth.mean(), abs=5 * truth.std() / np.sqrt(n))
    kurtosis = truth.stats(moments="k")
    assert counts.var() == pytest.approx(truth.var(), rel=6 * np.sqrt((float(kurtosis) + 2) / n))
    assert (counts == 0).mean() == pytest.approx(truth.pmf(0), abs=0.01)


def test_samples_are_those_of_their_generator():
    mean = torch.full((50,), 4.0)
    one, same, other = (nb_sample(mean, torch.ones(()), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
