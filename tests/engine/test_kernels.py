import logging
import math

import pytest
import torch

from scperturbmamba.engine import kernels
from scperturbmamba.engine.kernels import describe, load_kernel, mix, scan_kernel
from scperturbmamba.engine.scan import Weights, mix_with, scan_sequential

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def forget_the_kernel():
    load_kernel.cache_clear()
    yield
    load_kernel.cache_clear()


def stand_in(
    x, dt, A, B, C, chunk_size, D=None, z=None, dt_bias=None, initial_states=None, seq_idx=None, cu_seqlens=None,
    dt_softplus=False, dt_limit=(0.0, math.inf), return_final_states=False, return_varlen_states=False,
):  # fmt: skip
    """Take what `mamba_chunk_scan_combined` of mamba-ssm 2.3.2 takes, and scan token by token, left to right."""
    batch, length, heads, width = x.shape
    groups, state = B.shape[2:]
    assert dt.shape == (batch, length, heads) and dt.dtype == torch.float32
    assert A.shape == (heads,) and A.dtype == torch.float32
    assert B.shape == C.shape == (batch, length, groups, state) and heads % groups == 0
    assert B.dtype == C.dtype == x.dtype
    assert chunk_size > 0 and chunk_size & (chunk_size - 1) == 0
    assert all(one.stride(-1) == 1 for one in (x, dt, B, C))
    assert (D, z, dt_bias, initial_states, seq_idx, cu_seqlens) == (None,) * 6
    assert not (dt_softplus or return_final_states or return_varlen_states) and dt_limit == (0.0, math.inf)
    group = torch.arange(heads) // (heads // groups)
    B, C = B[:, :, group].float(), C[:, :, group].float()
    memory, rows = torch.zeros(batch, heads, width, state), []
    for t in range(length):
        decay = torch.exp(dt[:, t] * A)[..., None, None]
        write = torch.einsum("bh,bhp,bhn->bhpn", dt[:, t], x[:, t].float(), B[:, t])
        memory = decay * memory + write
        rows.append(torch.einsum("bhpn,bhn->bhp", memory, C[:, t]))
    return torch.stack(rows, 1).to(x.dtype)


def inputs(length=70, *, b=2, h=3, p=4, n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, B, C = (
        torch.randn(*shape, generator=generator) for shape in ((b, length, h, p), (b, length, n), (b, length, n))
    )
    dt = torch.nn.functional.softplus(torch.randn(b, length, 2, h, generator=generator) - 1)
    return [x, dt, -torch.exp(torch.randn(2, h, generator=generator)), B, C]


def mixer_inputs(length=20, *, b=2, h=3, p=4, n=5, seed=0):
    """Projection, weights, steps and rates."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((b, length, 2 * h * p + 2 * n), (h * p + 2 * n, 3), (h * p + 2 * n,), (h,), (h * p,))
    proj, *weights = (torch.randn(*shape, generator=generator) for shape in shapes)
    dt = torch.nn.functional.softplus(torch.randn(b, length, 2, h, generator=generator) - 1)
    return [proj, Weights(*weights), dt, -torch.exp(torch.randn(2, h, generator=generator))]


def definition(proj, weights, dt, A):
    return mix_with(scan_sequential, proj, weights, dt, A)


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU."""

    is_cuda = property(lambda self: True)


def test_the_kernel_s_launch_gives_the_values_and_gradients_of_the_definition():
    found = [one.clone().requires_grad_() for one in inputs()]
    wanted = [one.double().clone().requires_grad_() for one in inputs()]
    weight = torch.randn(found[0].shape, generator=torch.Generator().manual_seed(1))
    y, z = scan_kernel(stand_in, *found), scan_sequential(*wanted)
    torch.testing.assert_close(y.double(), z, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad((y * weight).sum(), found)
    expected = torch.autograd.grad((z * weight).sum(), wanted)
    for one, other in zip(gradients, expected):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernel_gets_half_precision_with_steps_and_rates_in_single(dtype):
    x, dt, A, B, C = inputs()
    found = scan_kernel(stand_in, x.to(dtype), dt, A, B, C)
    expected = scan_sequential(x, dt, A, B, C)
    assert found.dtype == dtype
    assert float((found.float() - expected).norm() / expected.norm()) < 2e-2


def test_the_kernel_takes_tensors_that_do_not_lie_in_order():
    x, dt, A, B, C = inputs()
    crooked = [x.transpose(1, 3).contiguous().transpose(1, 3), dt.transpose(1, 3).contiguous().transpose(1, 3), A]
    crooked += [one.transpose(1, 2).contiguous().transpose(1, 2) for one in (B, C)]
    assert not any(one.is_contiguous() for one in (crooked[0], crooked[1], crooked[3]))
    torch.testing.assert_close(scan_kernel(stand_in, *crooked), scan_sequential(x, dt, A, B, C), rtol=1e-4, atol=1e-4)


def test_a_gpu_with_kernels_uses_them_unless_told_not_to(monkeypatch):
    calls = []

    def counted(*args):
        calls.append(args)
        return stand_in(*args)

    monkeypatch.setattr(kernels, "load_kernel", lambda: counted)
    given = mixer_inputs()
    on_gpu = [given[0].as_subclass(OnGpu), *given[1:]]
    for engine, n_calls in (("auto", 1), ("mamba_ssm", 2), ("torch", 2)):
        y = mix(*on_gpu, engine=engine)
        assert len(calls) == n_calls
        torch.testing.assert_close(y.as_subclass(torch.Tensor), definition(*given), rtol=1e-4, atol=1e-5)
    mix(*given)  # on the CPU the kernels are never asked
    assert len(calls) == 2


def test_the_kernel_path_gives_the_values_and_gradients_of_the_torch_path(monkeypatch):
    monkeypatch.setattr(kernels, "load_kernel", lambda: stand_in)
    results = []
    for wrap in (lambda one: one.as_subclass(OnGpu), lambda one: one):
        proj, weights, dt, A = mixer_inputs(70)
        leaves = [one.requires_grad_() for one in (proj, *weights, dt, A)]
        y = mix(wrap(leaves[0]), Weights(*leaves[1:5]), *leaves[5:]).as_subclass(torch.Tensor)
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        results.append([y, *torch.autograd.grad((y * weight).sum(), leaves)])
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.detach().abs().max()))


def test_the_kernel_path_in_half_precision_is_within_a_hundredth_of_the_torch_path(monkeypatch):
    monkeypatch.setattr(kernels, "load_kernel", lambda: stand_in)
    proj, weights, dt, A = mixer_inputs(150, h=2, p=32, n=32)
    expected = mix(proj, weights, dt, A)
    found = mix(proj.bfloat16().as_subclass(OnGpu), weights, dt, A).as_subclass(torch.Tensor)
    assert found.dtype == torch.bfloat16
    assert float((found.float() - expected).norm() / expected.norm()) < 1e-2


def test_without_a_gpu_the_torch_scan_runs_and_the_kernels_are_not_even_looked_for(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(kernels, "import_module", lambda name: pytest.fail("looked for"))
    given = mixer_inputs()
    torch.testing.assert_close(mix(*given), definition(*given), rtol=1e-4, atol=1e-5)
    assert load_kernel() is None
    assert not caplog.records
    assert describe() == "torch scan: no CUDA GPU"


@pytest.mark.parametrize("error", [ImportError("no module"), OSError("undefined symbol"), RuntimeError("triton")])
def test_kernels_that_do_not_load_cost_one_line_and_no_number(monkeypatch, caplog, error):
    def broken(name):
        raise error

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(kernels, "import_module", broken)
    given = mixer_inputs()
    on_gpu = [given[0].as_subclass(OnGpu), *given[1:]]
    with caplog.at_level(logging.INFO, logger="scperturbmamba"):
        for _ in range(3):
            y = mix(*on_gpu)
    torch.testing.assert_close(y.as_subclass(torch.Tensor), definition(*given), rtol=1e-4, atol=1e-5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(error) in caplog.text and "same numbers" in caplog.text
    assert describe() == "torch scan: mamba-ssm does not load"
    with pytest.raises(RuntimeError, match="spm.settings.engine"):
        mix(*on_gpu, engine="mamba_ssm")


def test_asking_for_the_kernels_without_a_gpu_is_refused_with_the_remedy():
    with pytest.raises(RuntimeError, match=r'needs a CUDA GPU.*spm\.settings\.engine = "auto"'):
        mix(*mixer_inputs(5), engine="mamba_ssm")


def test_the_engine_in_use_can_be_named(monkeypatch):
    assert "spm.settings.engine" in describe("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(kernels, "load_kernel", lambda: stand_in)
    assert describe() == "mamba-ssm kernels"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_the_real_kernels_give_the_numbers_of_the_definition():
    pytest.importorskip("mamba_ssm")
    proj, weights, dt, A = mixer_inputs(300, h=4, p=16, n=16)
    proj, dt, A, weights = proj.cuda(), dt.cuda(), A.cuda(), Weights(*(one.cuda() for one in weights))
    expected = definition(proj.double(), Weights(*(one.double() for one in weights)), dt.double(), A.double())
    found = mix(proj, weights, dt, A, engine="mamba_ssm")
    torch.testing.assert_close(found.double(), expected, rtol=1e-2, atol=1e-2)
