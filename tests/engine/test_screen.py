"""What conditions share is done once, and changes nothing."""

from dataclasses import replace

import pytest
import torch

from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.mixers import Layer
from scperturbmamba.engine.screen import FirstLayer, Screener

torch.set_num_threads(1)


def some_layer(length, **net):
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        return Layer(NetConfig(**{"width": 12, "head_width": 8, "state": 6, **net}), length).eval()


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def in_full(layer, condition, genes):
    sequence = torch.cat([condition[:, None], genes.expand(len(condition), -1, -1)], dim=1)
    return layer(sequence, has_condition=True)


@pytest.mark.parametrize("length", [20, 64, 129, 130, 192, 300, 1000])
@pytest.mark.parametrize("kernel", [1, 3, 7])
@torch.no_grad()
def test_the_first_layer_is_exact_at_every_length(length, kernel):
    layer, genes, condition = some_layer(length, kernel=kernel), tokens(length - 1, 12), 3 * tokens(5, 12, seed=1)
    found, expected = FirstLayer(layer, genes)(condition), in_full(layer, condition, genes)
    assert found.shape == expected.shape == (5, length, 12)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert float((expected[0] - expected[1]).abs()[-1].max()) > 1e-3  # and there was something to carry to the end


@torch.no_grad()
def test_at_full_length_the_error_is_that_of_single_precision():
    layer, genes, condition = some_layer(18_001), tokens(18_000, 12), tokens(2, 12, seed=1)
    found, expected = FirstLayer(layer, genes)(condition), in_full(layer, condition, genes)
    assert float((found - expected).norm() / expected.norm()) < 1e-5


@torch.no_grad()
def test_conditions_do_not_know_of_each_other():
    layer, genes, condition = some_layer(300), tokens(299, 12), tokens(4, 12, seed=1)
    first = FirstLayer(layer, genes)
    torch.testing.assert_close(first(condition)[2:3], first(condition[2:3]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("net", [{}, {"mixer": "lstm"}, {"static_layers": 1}, {"head": "nb"}, {"layers": 1}])
def test_a_screener_says_what_the_predictor_says(make_network, make_conditions, net):
    predictor = make_network(150, contexts=2, **net)
    conditions = replace(make_conditions(6, n_genes=150), context=torch.tensor([0, 1, 1, 0, 1, 0]))
    with torch.no_grad():
        expected = predictor(conditions)
    screener = Screener(predictor)
    for _ in range(2):
        found = screener(conditions)
        torch.testing.assert_close(found.shift, expected.shift, rtol=1e-4, atol=1e-5)
    if net.get("head") == "nb":
        torch.testing.assert_close(found.log_dispersion, expected.log_dispersion, rtol=1e-4, atol=1e-5)


def test_layers_before_the_condition_run_once(make_network, make_conditions):
    predictor = make_network(150, static_layers=1)
    runs = [0, 0]
    for k, layer in enumerate(predictor.layers):
        layer.mixer.register_forward_hook(lambda *_, k=k: runs.__setitem__(k, runs[k] + 1))
    screener = Screener(predictor)
    for _ in range(3):
        screener(make_conditions(2, n_genes=150))
    assert runs == [1, 0]  # the first conditioned layer is never run as a whole again
