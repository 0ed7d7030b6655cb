import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scperturbmamba.engine.scan import Weights, mix_with, scan_sequential
from scperturbmamba.engine.ssd import edges, layout, mix

torch.set_num_threads(1)

LENGTHS = [1, 63, 64, 65, 130]
CHUNKS = [1, 7, 32, 64, 200]
NAMES = ["proj", "taps", "bias", "D", "norm", "dt", "A"]


def scan_inputs(length, *, b=2, h=3, p=4, n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, B, C = normal(b, length, h, p), normal(b, length, n), normal(b, length, n)
    return [x, F.softplus(normal(b, length, 2, h) - 1), -torch.exp(normal(2, h)), B, C]


def inputs(length, *, b=2, h=3, p=4, n=5, kernel=3, dtype=torch.float64, seed=0):
    """Projection, weights of a mixer, steps and rates."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inner, mixed = h * p, h * p + 2 * n
    weights = [normal(mixed, kernel), normal(mixed), normal(h), normal(inner)]
    given = [
        normal(b, length, inner + mixed),
        *weights,
        F.softplus(normal(b, length, 2, h) - 1),
        -torch.exp(normal(2, h)),
    ]
    return [one.to(dtype) for one in given]


def definition(proj, *rest):
    return mix_with(scan_sequential, proj, Weights(*rest[:4]), *rest[4:])


def fast(proj, *rest, chunk=64):
    return mix(proj, Weights(*rest[:4]), edges(*rest[4:], chunk=chunk))


def values_and_gradients(form, given, weight, **options):
    given = [one.clone().requires_grad_() for one in given]
    y = form(*given, **options)
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), given)]


def relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300))


def some_weight(given, seed=1):
    shape = (*given[0].shape[:2], len(given[4]))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_sum(x, dt, A, B, C):
    """Every token reads every other one through the product of the decays that lie between them."""
    x, dt, A, B, C = (one.numpy() for one in (x, dt, A, B, C))
    y = np.zeros_like(x)
    n_rows, length, heads, _ = x.shape
    for b, h, i, j in np.ndindex(n_rows, heads, length, length):
        read = C[b, i] @ B[b, j] * x[b, j, h]
        if j <= i:
            y[b, i, h] += np.exp(A[0, h] * dt[b, j + 1 : i + 1, 0, h].sum()) * dt[b, j, 0, h] * read
        if j >= i:
            y[b, i, h] += np.exp(A[1, h] * dt[b, i:j, 1, h].sum()) * dt[b, j, 1, h] * read
    return torch.from_numpy(y)


def test_the_definition_is_the_sum_over_all_pairs_of_tokens():
    given = scan_inputs(11)
    assert relative(scan_sequential(*given), dense_sum(*given)) < 1e-13


def test_the_mixer_is_convolution_scan_skip_gate_and_norm():
    proj, taps, bias, D, norm, dt, A = inputs(20)
    z, source = proj.numpy()[..., :12], proj.numpy()[..., 12:]
    padded = np.pad(source, [(0, 0), (1, 1), (0, 0)])
    mixed = sum(padded[:, k : k + 20] * taps.numpy()[:, k] for k in range(3)) + bias.numpy()
    mixed = torch.from_numpy(mixed / (1 + np.exp(-mixed)))
    x = mixed[..., :12].reshape(2, 20, 3, 4)
    y = scan_sequential(x, dt, A, mixed[..., 12:17], mixed[..., 17:]).numpy() + D.numpy()[:, None] * x.numpy()
    gated = y.reshape(2, 20, 12) * z / (1 + np.exp(-z))
    expected = gated / np.sqrt((gated**2).mean(-1, keepdims=True) + 1e-5) * norm.numpy()
    assert relative(definition(proj, taps, bias, D, norm, dt, A), torch.from_numpy(expected)) < 1e-13


@pytest.mark.parametrize("length", LENGTHS)
def test_the_fast_form_is_the_definition_in_values_and_gradients(length):
    given = inputs(length)
    expected = values_and_gradients(definition, given, some_weight(given))
    for chunk in CHUNKS:
        found = values_and_gradients(fast, given, some_weight(given), chunk=chunk)
        for name, one, other in zip(["y", *NAMES], found, expected):
            assert one.shape == other.shape
            assert relative(one, other) <= 1e-12, (name, chunk)


@pytest.mark.parametrize("kernel", [1, 5])
def test_the_convolution_may_be_as_wide_as_one_likes(kernel):
    given = inputs(70, kernel=kernel)
    expected = values_and_gradients(definition, given, some_weight(given))
    for one, other in zip(values_and_gradients(fast, given, some_weight(given), chunk=16), expected):
        assert relative(one, other) <= 1e-12


@pytest.mark.parametrize("tokens", [16, 50, 10_000])
def test_a_few_chunks_at_a_time_give_the_numbers_of_all_at_once(monkeypatch, tokens):
    given = inputs(75, b=3)
    expected = values_and_gradients(definition, given, some_weight(given))
    monkeypatch.setitem(layout._TOKENS, "cpu", tokens)
    for one, other in zip(values_and_gradients(fast, given, some_weight(given), chunk=16), expected):
        assert relative(one, other) <= 1e-12


def test_a_second_call_does_not_disturb_the_gradients_of_the_first():
    given, other = inputs(130), inputs(90, seed=7)
    expected = values_and_gradients(fast, given, some_weight(given))
    leaves = [one.clone().requires_grad_() for one in given]
    y = fast(*leaves)
    values_and_gradients(fast, other, some_weight(other))
    found = torch.autograd.grad((y * some_weight(given)).sum(), leaves)
    assert all(torch.equal(one, wanted) for one, wanted in zip([y.detach(), *found], expected))


def test_training_goes_on_after_inference():
    given = inputs(40)
    with torch.inference_mode():
        expected = fast(*given, chunk=8)
    assert torch.equal(values_and_gradients(fast, given, some_weight(given), chunk=8)[0], expected)


@pytest.mark.parametrize("length", [65, 130])
def test_single_precision_is_close_to_double(length):
    given = inputs(length)
    expected = values_and_gradients(definition, given, some_weight(given))
    found = values_and_gradients(fast, [one.float() for one in given], some_weight(given).float())
    assert found[0].dtype == torch.float32
    for name, one, other in zip(["y", *NAMES], found, expected):
        assert relative(one.double(), other) < 2e-5, name


def test_products_in_half_precision_are_close_to_double_and_come_out_in_half_precision():
    given = inputs(200, b=1, h=2, p=64, n=64)
    given[0] = given[0].bfloat16().double()
    given[1], given[2], given[4] = given[1] / 2, given[2] / 10, 1 + given[4] / 10  # as a network has them
    expected = values_and_gradients(definition, given, some_weight(given))
    half = [given[0].bfloat16(), *(one.float() for one in given[1:])]
    found = values_and_gradients(fast, half, some_weight(given).float())
    assert found[0].dtype == found[1].dtype == torch.bfloat16
    for name, one, other in zip(["y", *NAMES], found, expected):
        assert float((one.double() - other).norm() / other.norm()) < 2e-2, name


def test_the_gradient_by_hand_passes_gradcheck():
    given = [one.requires_grad_() for one in inputs(7, b=1, h=2, p=2, n=2)]
    assert torch.autograd.gradcheck(lambda *one: fast(*one, chunk=3), given, atol=1e-8, rtol=1e-6)


def test_a_tail_of_zero_steps_neither_writes_nor_decays():
    proj, *rest, dt, A = inputs(96, kernel=1)
    kept = 70
    dt[:, kept:] = 0
    whole = fast(proj, *rest, dt, A)[:, :kept]
    cut = fast(proj[:, :kept], *rest, dt[:, :kept], A)
    assert relative(whole, cut) < 1e-15


def test_a_zero_step_has_the_gradient_of_the_definition():
    given = inputs(40)
    given[5][:, 10:20] = 0
    expected = values_and_gradients(definition, given, some_weight(given))
    found = values_and_gradients(fast, given, some_weight(given), chunk=16)
    assert expected[6][:, 10:20].abs().min() > 0
    for one, other in zip(found, expected):
        assert relative(one, other) <= 1e-12


@pytest.mark.parametrize("form", [definition, fast])
def test_the_two_directions_are_mirror_images(form):
    proj, taps, *rest, dt, A = inputs(50)
    mirrored = form(proj.flip(1), taps.flip(1), *rest, dt.flip(1).flip(2), A.flip(0)).flip(1)
    straight = form(proj, taps, *rest, dt, A)
    assert relative(mirrored, straight) < 1e-13
    assert relative(form(proj, taps, *rest, dt.flip(2), A.flip(0)), straight) > 0.1


def test_a_direction_without_steps_leaves_a_causal_scan():
    proj, *rest, dt, A = inputs(40)
    dt[:, :, 1] = 0
    before = fast(proj, *rest, dt, A, chunk=16)
    proj[:, 25] += 1
    change = (fast(proj, *rest, dt, A, chunk=16) - before).abs().amax((0, 2))
    assert change[:24].max() == 0  # token 24 sees it through the convolution
    assert change[24:].min() > 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", [1e-8, 16.0, 1e4])
def test_no_decay_is_so_large_or_small_that_numbers_break(rate, dtype):
    *rest, dt, A = inputs(130, dtype=dtype)
    found = values_and_gradients(fast, [*rest, 20 * dt, rate * A], torch.ones(2, 130, 12, dtype=dtype))
    assert all(one.isfinite().all() for one in found)


@pytest.mark.parametrize("rate", [1e-8, 1.0, 16.0])
def test_single_precision_holds_where_hundreds_of_decays_add_up(rate):
    *rest, dt, A = inputs(130)
    given = [*rest, 5 * dt, rate * A]
    assert relative(fast(*(one.float() for one in given)).double(), definition(*given)) < 5e-4
