"""The dose in the network: nothing at 0, all at the reference dose, and never less of more."""

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from scperturbmamba.engine.dose import DoseGate
from scperturbmamba.engine.predictor import Predictor, Sizes
from scperturbmamba.engine.screen import Screener
from scperturbmamba.engine.tokens import GeneInputs

torch.set_num_threads(1)


def gate(half=-0.7, slope=0.0):
    found = DoseGate()
    with torch.no_grad():
        found.log_half.fill_(half)
        found.log_slope.fill_(slope)
    return found


@given(st.lists(st.just(0.0) | st.floats(1e-9, 1e4), min_size=1, max_size=8), st.floats(-3, 2), st.floats(-1, 1.5))
def test_the_gate_is_a_hill_function_that_is_1_at_the_reference(doses, half, slope):
    dose = torch.tensor([0.0, *sorted(doses), 1.0], dtype=torch.float64)
    found = gate(half, slope)(dose)
    at, steep = torch.tensor(half, dtype=torch.float64).exp(), torch.tensor(slope, dtype=torch.float64).exp()
    expected = dose**steep * (1 + at**steep) / (dose**steep + at**steep)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)
    assert found[0] == 0
    assert (found[1:-1].diff() >= -1e-7).all()


def test_gradients_are_finite_at_dose_0():
    one = gate()
    dose = torch.tensor([0.0, 1e-20, 1.0], requires_grad=True)
    one(dose).sum().backward()
    assert torch.isfinite(dose.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in one.parameters())


def with_doses(net):
    """Return the same network with a gate for doses."""
    sizes = Sizes(9, 3, 5, 4, 1, has_doses=True)
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        found = Predictor(net.config, _genes_of(net), sizes, state=net.state)
    found.load_state_dict(net.state_dict() | {f"dose.{name}": value for name, value in DoseGate().state_dict().items()})
    return found.eval()


def _genes_of(net):
    return GeneInputs(net.genes.chromosome, net.genes.locus, net.genes.features)


@torch.no_grad()
def test_at_the_reference_dose_a_network_is_the_one_without_doses(make_network, make_conditions):
    plain, conditions = make_network(20), make_conditions(4, n_genes=20)
    dosed = with_doses(plain)
    full = replace(conditions, dose=torch.ones(4, 2))
    torch.testing.assert_close(dosed(full).shift, plain(conditions).shift)
    torch.testing.assert_close(dosed(conditions).shift, plain(conditions).shift)


@torch.no_grad()
def test_no_dose_has_no_effect_and_a_part_at_no_dose_is_as_if_it_were_not_there(make_network, make_conditions):
    net, conditions = with_doses(make_network(20)), make_conditions(4, n_genes=20)
    assert (net(replace(conditions, dose=torch.zeros(4, 2))).shift == 0).all()
    half = replace(conditions, dose=torch.tensor([[1.0, 0.0]]).expand(4, 2))
    alone = replace(half, present=torch.tensor([[True, False]]).expand(4, 2))
    place = conditions.place.clone()
    place[:, 1] = -1  # what was done to a target is marked on its token; an absent part marks none
    same = [net(replace(one, place=place)).shift for one in (half, alone)]
    torch.testing.assert_close(*same)


@torch.no_grad()
def test_a_screener_knows_doses(make_network, make_conditions):
    net, conditions = with_doses(make_network(20)), make_conditions(6, n_genes=20)
    dosed = replace(conditions, dose=torch.rand(6, 2))
    torch.testing.assert_close(Screener(net)(dosed).shift, net(dosed).shift, rtol=1e-5, atol=1e-6)
