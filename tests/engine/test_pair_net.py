"""The pair network: it starts as no correction, learns what the offset lacks, and is the same for the same seed."""

import numpy as np
import pytest
import torch

from scperturbmamba.engine.pair_net import PairNet, correction, fit_pair_nets

N = 3000


@pytest.fixture
def pairs():
    """Numbers of which a product matters, which no line through them can tell."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 4, generator=generator)
    truth = 2.0 * x[:, 0] * x[:, 1]
    offset = 0.5 * x[:, 2]
    return x, offset, truth, generator


def test_before_training_nothing_is_corrected():
    assert not PairNet(4)(torch.randn(10, 4)).any()


def test_effects_are_corrected_by_what_the_offset_lacks(pairs):
    x, offset, truth, generator = pairs
    target = offset + truth + 0.1 * torch.randn(N, generator=generator)
    nets = fit_pair_nets(x[:2000], offset[:2000], target[:2000], torch.ones(2000), are_calls=False, epochs=40)
    left = (correction(nets, x[2000:]) - truth[2000:]).square().mean()
    assert left < 0.1 * truth[2000:].square().mean()


def test_corrections_of_calls_are_log_odds(pairs):
    x, offset, truth, generator = pairs
    target = (torch.rand(N, generator=generator) < torch.sigmoid(offset + truth)).float()
    nets = fit_pair_nets(x[:2000], offset[:2000], target[:2000], torch.ones(2000), are_calls=True, epochs=40)
    found = correction(nets, x[2000:])
    slope = (found * truth[2000:]).sum() / truth[2000:].square().sum()
    assert np.corrcoef(found, truth[2000:])[0, 1] > 0.85 and 0.6 < slope < 1.4


def test_a_pair_of_weight_zero_teaches_nothing(pairs):
    x, offset, truth, _ = pairs
    weight = (torch.arange(N) < 2000).float()
    spoilt = torch.where(weight > 0, offset + truth, torch.tensor(1e3))
    one, other = (
        fit_pair_nets(x, offset, target, weight, are_calls=False, n_nets=1, epochs=2)
        for target in (spoilt, torch.where(weight > 0, offset + truth, torch.tensor(-1e3)))
    )
    torch.testing.assert_close(correction(one, x), correction(other, x))


def test_the_same_seed_gives_the_same_networks_and_leaves_the_global_state(pairs):
    x, offset, truth, _ = pairs
    weight = torch.ones(N)
    state = torch.random.get_rng_state()
    one, other, third = (
        fit_pair_nets(x, offset, truth, weight, are_calls=False, n_nets=2, epochs=1, seed=seed) for seed in (3, 3, 9)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(correction(one, x), correction(other, x))
    assert not torch.equal(correction(one, x), correction(third, x))
    torch.testing.assert_close(correction(one, x), (correction(one[:1], x) + correction(one[1:], x)) / 2)
