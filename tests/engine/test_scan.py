import numpy as np
import pytest
import torch

from scperturbmamba.engine import chunk as chunk_module
from scperturbmamba.engine.scan import scan_chunked, scan_sequential

torch.set_num_threads(1)

LENGTHS = [1, 63, 64, 65, 130]
CHUNKS = [1, 7, 32, 64, 200]
NAMES = ["x", "dt", "A", "B", "C"]


def inputs(length, *, b=2, h=3, p=4, n=5, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, B, C = normal(b, length, h, p), normal(b, length, n), normal(b, length, n)
    dt = torch.nn.functional.softplus(normal(b, length, 2, h) - 1)
    A = -torch.exp(normal(2, h))
    return [one.to(dtype) for one in (x, dt, A, B, C)]


def values_and_gradients(scan, given, weight, **options):
    given = [one.clone().requires_grad_() for one in given]
    y = scan(*given, **options)
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), given)]


def relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300))


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


@pytest.mark.parametrize("form", [scan_sequential, scan_chunked])
def test_the_scan_is_the_sum_over_all_pairs_of_tokens(form):
    given = inputs(11)
    expected = dense_sum(*given)
    options = {"chunk": 4} if form is scan_chunked else {}
    assert relative(form(*given, **options), expected) < 1e-13


@pytest.mark.parametrize("length", LENGTHS)
def test_the_chunked_scan_is_the_sequential_one_in_values_and_gradients(length):
    given = inputs(length)
    weight = torch.randn(given[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = values_and_gradients(scan_sequential, given, weight)
    for chunk in CHUNKS:
        found = values_and_gradients(scan_chunked, given, weight, chunk=chunk)
        for name, one, other in zip(["y", *NAMES], found, expected):
            assert one.shape == other.shape
            assert relative(one, other) <= 1e-12, (name, chunk)


def test_the_default_chunk_is_exact_too():
    given = inputs(130, seed=4)
    assert relative(scan_chunked(*given), scan_sequential(*given)) <= 1e-12


@pytest.mark.parametrize("length", [65, 130])
def test_single_precision_is_close_to_double(length):
    given = inputs(length)
    weight = torch.ones_like(given[0])
    expected = values_and_gradients(scan_sequential, given, weight)
    found = values_and_gradients(scan_chunked, [one.float() for one in given], weight.float())
    assert found[0].dtype == torch.float32
    for name, one, other in zip(["y", *NAMES], found, expected):
        assert relative(one.double(), other) < 2e-5, name


def test_the_gradient_by_hand_passes_gradcheck():
    given = [one.requires_grad_() for one in inputs(7, b=1, h=2, p=2, n=2)]
    assert torch.autograd.gradcheck(lambda *one: scan_chunked(*one, chunk=3), given, atol=1e-8, rtol=1e-6)


def test_a_few_chunks_at_a_time_give_the_numbers_of_all_at_once(monkeypatch):
    given, weight = inputs(130), torch.ones(2, 130, 3, 4, dtype=torch.float64)
    whole = values_and_gradients(scan_chunked, given, weight, chunk=16)
    monkeypatch.setattr(chunk_module, "_IN_CACHE", 3 * 3 * 16 * 16)
    for one, other in zip(values_and_gradients(scan_chunked, given, weight, chunk=16), whole):
        assert relative(one, other) < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tail_of_zero_steps_changes_nothing(dtype):
    x, dt, A, B, C = inputs(96, dtype=dtype)
    kept = 70
    dt[:, kept:] = 0
    whole = scan_chunked(x, dt, A, B, C)[:, :kept]
    cut = scan_chunked(x[:, :kept], dt[:, :kept], A, B[:, :kept], C[:, :kept])
    assert torch.equal(whole, cut)


def test_a_zero_step_has_the_gradient_of_the_definition():
    given = inputs(40)
    given[1][:, 10:20] = 0
    weight = torch.randn(given[0].shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = values_and_gradients(scan_sequential, given, weight)
    found = values_and_gradients(scan_chunked, given, weight, chunk=16)
    assert expected[2][:, 10:20].abs().min() > 0
    for one, other in zip(found, expected):
        assert relative(one, other) <= 1e-12


@pytest.mark.parametrize("form", [scan_sequential, scan_chunked])
def test_the_two_directions_are_mirror_images(form):
    x, dt, A, B, C = inputs(50)
    mirrored = form(x.flip(1), dt.flip(1).flip(2), A.flip(0), B.flip(1), C.flip(1)).flip(1)
    assert relative(mirrored, form(x, dt, A, B, C)) < 1e-13
    assert relative(form(x, dt.flip(2), A.flip(0), B, C), form(x, dt, A, B, C)) > 0.1


def test_a_direction_without_steps_leaves_a_causal_scan():
    x, dt, A, B, C = inputs(40)
    dt[:, :, 1] = 0
    before = scan_chunked(x, dt, A, B, C, chunk=16)
    x[:, 25] += 1
    change = (scan_chunked(x, dt, A, B, C, chunk=16) - before).abs().amax((0, 2, 3))
    assert change[:25].max() < 1e-25
    assert change[25:].min() > 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", [1e-8, 16.0, 1e4])
def test_no_decay_is_so_large_or_small_that_numbers_break(rate, dtype):
    x, dt, A, B, C = inputs(130, dtype=dtype)
    found = values_and_gradients(scan_chunked, [x, 20 * dt, rate * A, B, C], torch.ones_like(x))
    assert all(one.isfinite().all() for one in found)


@pytest.mark.parametrize("rate", [1e-8, 1.0, 16.0])
def test_single_precision_holds_where_hundreds_of_decays_add_up(rate):
    x, dt, A, B, C = inputs(130)
    given = [x, 5 * dt, rate * A, B, C]
    found = scan_chunked(*(one.float() for one in given)).double()
    assert relative(found, scan_sequential(*given)) < 5e-4
