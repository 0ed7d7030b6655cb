"""Empirical Bayes: nearer the truth than what was measured, by as much as the noise allows."""

from dataclasses import replace

import numpy as np
import pytest

from scperturbmamba.models.shrinkage import Prior, cell_noise


def drawn(n=40, n_genes=300, *, spread=0.5, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=n_genes)
    true = mean + spread * rng.normal(size=(n, n_genes))
    variance = noise**2 * rng.uniform(0.3, 2, (n, n_genes))
    return true, true + np.sqrt(variance) * rng.normal(size=true.shape), variance


@pytest.mark.parametrize("seed", range(3))
def test_shrunken_effects_are_nearer_the_truth_and_near_what_the_true_prior_gives(seed):
    true, measured, variance = drawn(seed=seed)
    found = Prior.of(measured, variance).shrink(measured, variance)
    ideal = true.mean(0) + 0.25 / (0.25 + variance) * (measured - true.mean(0))
    errors = [np.square(one - true).mean() for one in (measured, found, ideal)]
    assert errors[1] < 0.5 * errors[0] and errors[1] < 1.35 * errors[2]


def test_without_noise_nothing_is_drawn_and_without_effects_everything_is():
    true, _, _ = drawn()
    np.testing.assert_allclose(Prior.of(true, np.zeros_like(true)).shrink(true, np.zeros_like(true)), true)
    _, measured, variance = drawn(spread=0)
    found = Prior.of(measured, variance).shrink(measured, variance)
    assert np.square(found - measured.mean(0)).mean() < 0.05 * variance.mean()


def noisy(bundle, se):
    own = np.full_like(bundle.delta, se)
    return replace(bundle, se=np.sqrt(own**2 + 0.05**2), own_se=own)


def test_the_noise_of_the_control_is_left_out_and_validation_rows_have_none(bundle):
    found = cell_noise(replace(noisy(bundle, 0.2), n_cells=np.full(len(bundle.delta), 50)))
    np.testing.assert_allclose(found[bundle.training()], 0.04, rtol=1e-4)
    assert np.isnan(found[bundle.is_val]).all()


def test_a_row_of_few_cells_borrows_its_variance(bundle):
    se = np.full_like(bundle.delta, 0.2)
    se[0] = 0
    n_cells = np.where(np.arange(len(se)) == 0, 5, 1000)
    found = cell_noise(replace(bundle, se=se, n_cells=n_cells, own_se=se))
    assert (found[0] > 1).all()  # five cells of a variance of 40 between cells
