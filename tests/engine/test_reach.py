"""The condition is one token at the head of 18,000 genes: it must reach the last of them."""

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from scperturbmamba.engine.mixers import BiMamba2

torch.set_num_threads(2)

N_GENES = 18_000
WIDTHS = {"width": 16, "head_width": 8, "state": 8, "layers": 2, "awake": False}


def in_bf16(yes):
    return torch.autocast("cpu", torch.bfloat16) if yes else nullcontext()


@torch.no_grad()
def influence(net, conditions, *, bf16=False):
    """Return, per token, how far its representation moves when another condition stands at the head."""
    with in_bf16(bf16):
        tokens = net.tokens(conditions, net.condition(conditions)).double()
    return (tokens[0] - tokens[1]).norm(dim=-1)


@pytest.fixture
def conditions(make_conditions):
    """Two conditions that differ in what was perturbed, not in its place."""
    two = make_conditions(2, n_genes=N_GENES, parts=1)
    return replace(two, place=two.place[:1].expand(2, 1), kind=two.kind[:1].expand(2, 1), covariates=two.covariates * 0)


def train_a_little(net, conditions, *, bf16, steps=4):
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    goal = torch.randn(2, N_GENES, generator=torch.Generator().manual_seed(3))
    before = {name: value.clone() for name, value in net.named_parameters()}
    for _ in range(steps):
        with in_bf16(bf16):
            loss = (net(conditions).shift - goal).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    moved = [not torch.equal(before[name], value) for name, value in net.named_parameters()]
    assert sum(moved) > 0.9 * len(moved)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_at_initialisation_the_condition_reaches_the_last_gene(make_network, conditions, seed):
    net = make_network(N_GENES, seed=seed, **WIDTHS)
    for bf16 in (False, True):
        moved = influence(net, conditions, bf16=bf16)
        assert moved[-1] >= 0.01 * moved[1], bf16
        assert (moved > 0).all(), bf16


@pytest.mark.parametrize("bf16", [False, True])
def test_after_training_the_condition_still_reaches_the_last_gene(make_network, conditions, bf16):
    net = make_network(N_GENES, **WIDTHS)
    train_a_little(net, conditions, bf16=bf16)
    moved = influence(net, conditions, bf16=bf16)
    assert moved[-1] >= 0.01 * moved[1]
    assert (moved > 0).all()


def with_customary_start(net):
    """Start as Mamba-2 is usually started: A from 1 to 16, steps from 0.001 to 0.1, no step of the condition's own."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, BiMamba2):
                shape = module.log_A.shape
                module.log_A.copy_((1 + 15 * torch.rand(shape, generator=generator)).log())
                share = torch.rand(shape, generator=generator)
                dt = torch.exp(math.log(1e-3) + share * (math.log(1e-1) - math.log(1e-3)))
                module.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))
                module.dt_condition.zero_()
    return net


def test_with_the_customary_start_the_condition_is_forgotten_on_the_way(make_network, conditions):
    net = with_customary_start(make_network(N_GENES, **WIDTHS))
    moved = influence(net, conditions)
    assert moved[1] > 1e-4
    assert moved[-1] < 1e-6 * moved[1]
