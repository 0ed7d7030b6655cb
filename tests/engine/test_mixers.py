import math

import pytest
import torch
import torch.nn.functional as F

from scperturbmamba.engine import mixers
from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.mixers import BiLSTM, BiMamba2, Layer
from scperturbmamba.engine.scan import scan_sequential

torch.set_num_threads(1)

CONFIG = NetConfig(width=12, head_width=4, state=6)


def tokens(length=37, rows=2, width=12, seed=0):
    return torch.randn(rows, length, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def mamba():
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        return BiMamba2(CONFIG, 37)


@pytest.mark.parametrize("length", [40, 1_000, 18_001])
def test_memories_are_spread_from_eight_tokens_to_four_times_the_sequence(length):
    mixer = BiMamba2(NetConfig(), length)
    dt, A = F.softplus(mixer.dt_bias), torch.exp(mixer.log_A)
    memory = 1 / (dt * A)
    assert memory.shape == (2, 4)
    torch.testing.assert_close(memory[0], memory[1])
    torch.testing.assert_close(memory[:, 0], torch.full((2,), 8.0))
    torch.testing.assert_close(memory[:, -1], torch.full((2,), 4.0 * length), rtol=1e-3, atol=0)
    ratio = memory[0, 1:] / memory[0, :-1]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=0)
    kept = torch.exp(-length * (dt * A)[0, -1])
    assert float(kept.detach()) == pytest.approx(math.exp(-1 / 4), rel=1e-3)


def test_every_head_starts_with_a_state_of_unit_scale():
    mixer = BiMamba2(NetConfig(), 1_000)
    dt, A = F.softplus(mixer.dt_bias[0]), torch.exp(mixer.log_A[0])
    writes = torch.randn(4, 6_000, generator=torch.Generator().manual_seed(0))
    state = torch.zeros(4)
    squares = []
    for t in range(6_000):
        state = torch.exp(-dt * A) * state + dt * writes[:, t]
        squares.append(state.square())
    spread = torch.stack(squares[2_000:]).mean(0).sqrt()
    assert (spread > 0.4).all() and (spread < 2.5).all()


def test_the_condition_writes_with_a_step_of_its_own_and_the_genes_with_theirs(mamba, monkeypatch):
    steps = []

    def spy(proj, weights, dt, A, *, engine):
        steps.append(dt)
        return proj[..., :24]

    monkeypatch.setattr(mixers, "mix", spy)
    quiet = torch.zeros(1, 37, 12)
    for has_condition in (True, False):
        mamba(quiet, has_condition=has_condition)
    with_it, without = (step[0].detach() for step in steps)
    own = F.softplus(mamba.dt_bias.detach())
    torch.testing.assert_close(with_it[0], torch.ones(2, 6))
    torch.testing.assert_close(with_it[1:], own.expand(36, 2, 6))
    torch.testing.assert_close(without, own.expand(37, 2, 6))


@pytest.mark.parametrize("length", [50, 1_000, 18_001])
def test_the_one_write_of_the_condition_grows_with_all_that_the_genes_write(length):
    mixer = BiMamba2(NetConfig(), length)
    step = F.softplus(mixer.dt_bias + mixer.dt_condition)
    torch.testing.assert_close(step, torch.full((2, 4), max(1.0, length**0.5 / 13)), rtol=1e-4, atol=0)


def test_the_mixer_is_the_equations_with_the_sequential_scan(mamba):
    u = tokens()
    z, xBC = (u @ mamba.in_proj.weight.T).split([24, 24 + 2 * 6], -1)
    dt = u @ mamba.dt_proj.weight.T
    padded = F.pad(xBC, (0, 0, 1, 1))
    weight = mamba.conv.weight[:, 0]
    xBC = F.silu(sum(padded[:, k : k + 37] * weight[:, k] for k in range(3)) + mamba.conv.bias)
    x, B, C = xBC.split([24, 6, 6], -1)
    raw = dt.reshape(2, 37, 2, 6) + mamba.dt_bias
    raw[:, 0] = raw[:, 0] + mamba.dt_condition
    x = x.reshape(2, 37, 6, 4)
    y = scan_sequential(x, F.softplus(raw), -torch.exp(mamba.log_A), B, C) + mamba.D[:, None] * x
    y = y.reshape(2, 37, 24) * F.silu(z)
    y = y / torch.sqrt(y.square().mean(-1, keepdim=True) + 1e-5) * mamba.norm.weight
    expected = y @ mamba.out_proj.weight.T
    torch.testing.assert_close(mamba(u, has_condition=True), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixer", ["mamba2", "lstm"])
def test_both_mixers_read_both_ways_and_pass_gradients_to_all_their_weights(mixer):
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        layer = Layer(NetConfig(width=12, head_width=4, state=6, mixer=mixer), 37)
    u = tokens().requires_grad_()
    out = layer(u, has_condition=True)
    assert out.shape == u.shape
    (gradient,) = torch.autograd.grad(out[0, 18].sum(), u, retain_graph=True)
    assert (gradient[0].abs().sum(-1) > 0).all() and not gradient[1].any()
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("mixer", ["mamba2", "lstm"])
def test_rows_of_a_batch_do_not_know_each_other(mixer):
    layer = Layer(NetConfig(width=12, head_width=4, state=6, mixer=mixer), 37)
    u = tokens(rows=3)
    whole = layer(u, has_condition=True)
    torch.testing.assert_close(layer(u[1:2], has_condition=True), whole[1:2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [10, 18_001])
def test_the_gates_of_the_lstm_start_open_for_the_length_of_the_sequence(length):
    lstm = BiLSTM(CONFIG, length).lstm
    for name in ("bias_ih_l0", "bias_ih_l0_reverse"):
        forget = getattr(lstm, name)[6:12]
        torch.testing.assert_close(forget, torch.full((6,), math.log(length)))


def test_dropout_acts_in_training_only():
    layer = Layer(CONFIG.model_copy(update={"dropout": 0.5}), 37)
    u = tokens()
    layer.train()
    assert not torch.equal(layer(u, has_condition=True), layer(u, has_condition=True))
    layer.eval()
    assert torch.equal(layer(u, has_condition=True), layer(u, has_condition=True))


def test_a_checkpointed_layer_gives_the_same_values_and_gradients():
    results = []
    for checkpoint in (False, True):
        with torch.random.fork_rng():
            torch.random.manual_seed(0)
            layer = Layer(CONFIG.model_copy(update={"checkpoint": checkpoint}), 37)
        u = tokens().requires_grad_()
        out = layer(u, has_condition=True)
        results.append([out, *torch.autograd.grad(out.square().sum(), [u, *layer.parameters()])])
    assert all(torch.equal(one, other) for one, other in zip(*results))
