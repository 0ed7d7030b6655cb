"""The engine against its definition, the plain reference, an LSTM, a transformer layer and the machine's own peak.

``python benchmarks/engine.py [--quick] [--json FILE] [--page FILE]``. Process time of one thread, forward and backward,
width 128, state 64, heads of 128, 2 layers, 18,048 tokens, unless a row says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from _measure import TOLD, Row, cpu_flags, has_bf16, in_fresh_process, interleaved, options, peak_mb, report
from _minimal import BothWays
from torch import Tensor, nn

import scperturbmamba as spm
from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.mixers import Layer
from scperturbmamba.engine.scan import Weights, mix_with, scan_sequential
from scperturbmamba.engine.ssd import edges, mix

LENGTH = 18_048
Call = Callable[[], object]


class Ours(nn.Module):
    """Layers of the package."""

    def __init__(
        self, width: int = 128, *, expand: int = 2, length: int = LENGTH, layers: int = 2, **more: bool
    ) -> None:
        super().__init__()
        config = NetConfig(width=width, state=64, head_width=128, expand=expand, layers=layers, **more)
        self.layers = nn.ModuleList(Layer(config, length) for _ in range(layers))

    def forward(self, u: Tensor) -> Tensor:
        """Mix (1, l, width)."""
        for layer in self.layers:
            u = layer(u, has_condition=True)
        return u


class Lstm(nn.Module):
    """Residual layers of a bidirectional LSTM, half the width each way."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        options = {"bidirectional": True, "batch_first": True}
        self.layers = nn.ModuleList(nn.LSTM(width, width // 2, **options) for _ in range(2))

    def forward(self, u: Tensor) -> Tensor:
        """Mix (1, l, width)."""
        for layer in self.layers:
            u = u + layer(u)[0]
        return u


def plain(width: int = 128) -> nn.Module:
    """Return two layers of the reference."""
    return nn.Sequential(*(BothWays(width, head_width=128) for _ in range(2)))


def transformer(width: int = 128) -> nn.Module:
    """Return two transformer layers, with torch's fused attention."""
    layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True, dropout=0)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def step(net: nn.Module, *, length: int = LENGTH, width: int = 128, batch: int = 1, bf16: bool = False) -> Call:
    """Return a call that goes forward and backward once."""
    u = torch.randn(batch, length, width, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def call() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = net(u)
        out.float().square().sum().backward()
        net.zero_grad(set_to_none=True)
        u.grad = None

    return call


def product(n: int = 2048, dtype: torch.dtype = torch.float32) -> Call:
    """Return a large square matrix product: the machine's peak."""
    a, out = torch.randn(n, n).to(dtype), torch.empty(n, n, dtype=dtype)
    return lambda: torch.mm(a, a, out=out)


def flops(width: int, *, length: int = LENGTH, layers: int = 2, expand: int = 2, state: int = 64, q: int = 64) -> float:
    """Return what matrix products of a forward and backward pass must do."""
    inner = expand * width
    projections = 2 * width * (2 * inner + 2 * state) + 2 * inner * width
    scan = 2 * q * state + 2 * q * inner + 8 * state * inner
    return 3.0 * layers * length * (projections + scan)


# --- rows ---------------------------------------------------------------------------------------------------------


def exact(*, quick: bool) -> list[Row]:
    """Values and gradients against the definition and against double precision."""
    worst_y, worst_g = 0.0, 0.0
    for length in (1, 63, 64, 65, 130):
        errors = compare(small(length), mix_with_definition, torch.float64)
        worst_y, worst_g = max(worst_y, errors[0]), max(worst_g, *errors[1:])
    found = f"values {worst_y:.1e}, gradients {worst_g:.1e}"
    holds = max(worst_y, worst_g) <= 1e-12
    rows = [Row("float64 against the definition, lengths 1 to 130", "≤ 1e-12", found, holds)]
    length = 2_001 if quick else 18_001
    given = small(length, b=1, h=2, p=64, n=64)
    for name, dtype, limits in (
        ("float32", torch.float32, (5e-6, 1e-5)),
        ("bf16 products", torch.bfloat16, (5e-3, 2e-2)),
    ):
        draws = np.array([compare(given, fast, dtype, seed=seed) for seed in range(5)])
        errors = np.median(draws, axis=0).tolist()
        found = f"values {errors[0]:.1e}, gradients {max(errors[1:]):.1e}"
        note = f"the worst of its gradients, median of five random losses; the worst of all five {draws.max():.1e}"
        target = f"≤ {limits[0]:.0e}, ≤ {limits[1]:.0e}"
        holds = errors[0] <= limits[0] and max(errors[1:]) <= limits[1]
        rows.append(Row(f"{name} against float64, {length:,} tokens (relative L2)", target, found, holds, note))
    return rows


def small(length: int, *, b: int = 2, h: int = 3, p: int = 4, n: int = 5) -> list[Tensor]:
    """Return inputs in float64: projection, weights, steps, rates."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inner, mixed = h * p, h * p + 2 * n
    weights = [normal(mixed, 3) / 2, normal(mixed) / 10, normal(h), 1 + normal(inner) / 10]
    rates = torch.logspace(math.log10(1 / 8), math.log10(1 / (4 * max(length, 8))), h, dtype=torch.float64).expand(2, h)
    dt = (2 * rates).sqrt() * (normal(b, length, 2, h) / 4).exp()
    return [normal(b, length, inner + mixed), *weights, dt, -(rates / (2 * rates).sqrt())]


def fast(proj: Tensor, *rest: Tensor) -> Tensor:
    return mix(proj, Weights(*rest[:4]), edges(*rest[4:]))


def mix_with_definition(proj: Tensor, *rest: Tensor) -> Tensor:
    return mix_with(scan_sequential, proj, Weights(*rest[:4]), *rest[4:])


def compare(given: list[Tensor], oracle: Callable[..., Tensor], dtype: torch.dtype, seed: int = 0) -> list[float]:
    """Return the relative errors of the values and of each gradient of the fast form in a dtype."""
    fine = dtype if dtype == torch.float64 else torch.float32
    given = [given[0].to(dtype).double(), *given[1:]]
    cast = [given[0].to(dtype), *(one.to(fine) for one in given[1:])]
    shape, generator = (*given[0].shape[:2], len(given[4])), torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    found, expected = (
        (call, [one.clone().requires_grad_() for one in xs]) for call, xs in ((fast, cast), (oracle, given))
    )
    values = [call(*xs) for call, xs in (found, expected)]
    grads = [torch.autograd.grad((y.double() * weight).sum(), xs) for y, (_, xs) in zip(values, (found, expected))]
    pairs = [tuple(y.detach() for y in values), *zip(*grads)]
    return [float((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-300)) for a, b in pairs]


def speed(*, rounds: int) -> list[Row]:
    """Everything at width 128 in interleaved rounds of one process."""
    bf16 = has_bf16()
    calls = {
        "peak": product(),
        "ours": step(Ours()),
        "plain": step(plain()),
        "lstm": step(Lstm()),
        "ours, expand 1": step(Ours(expand=1)),
    }
    if bf16:
        calls |= {
            "peak bf16": product(dtype=torch.bfloat16),
            "ours bf16": step(Ours(), bf16=True),
            "ours, expand 1, bf16": step(Ours(expand=1), bf16=True),
        }
    ms = interleaved(calls, rounds=rounds)
    print({name: round(value) for name, value in ms.items()}, flush=True)
    rows = [
        ratio("against the plain reference, float32", ms["plain"] / ms["ours"], 4),
        ratio("against the plain reference, bf16", ms["plain"] / ms["ours bf16"], 6)
        if bf16
        else missing("plain, bf16"),
        ratio("fraction of the float32 peak, width 128", peak_fraction(128, ms["ours"], ms["peak"]), 0.6),
        ratio("fraction of the bf16 peak, width 128", peak_fraction(128, ms["ours bf16"], ms["peak bf16"]), 0.45)
        if bf16
        else missing("fraction of the bf16 peak"),
        ratio("against the LSTM, expand 1, bf16", ms["lstm"] / ms["ours, expand 1, bf16"], 1.5)
        if bf16
        else missing("LSTM, expand 1, bf16"),
        ratio("against the LSTM, full width, bf16", ms["lstm"] / ms["ours bf16"], 0.9)
        if bf16
        else missing("LSTM, bf16"),
        Row("against the LSTM, full width, float32", TOLD, f"{ms['lstm'] / ms['ours']:.2f} ×", holds=True),
    ]
    return rows


def wide(*, rounds: int) -> list[Row]:
    """The same at width 256."""
    ms = interleaved({"peak": product(), "ours": step(Ours(256), width=256)}, rounds=rounds)
    return [ratio("fraction of the float32 peak, width 256", peak_fraction(256, ms["ours"], ms["peak"]), 0.7)]


def against_transformer() -> list[Row]:
    """One round after one that warms up: attention at 18,048 tokens takes its time."""
    ms = interleaved({"ours": step(Ours()), "transformer": step(transformer())}, rounds=1)
    return [ratio("against a transformer, float32", ms["transformer"] / ms["ours"], 20)]


def two_threads(*, rounds: int) -> list[Row]:
    """Wall time on two threads."""
    torch.set_num_threads(2)
    ours = step(Ours(expand=1), bf16=has_bf16())
    ms = interleaved({"lstm": step(Lstm()), "ours": ours}, rounds=rounds, clock="wall")
    torch.set_num_threads(1)
    name = f"against the LSTM on two threads, expand 1, {'bf16' if has_bf16() else 'float32'} (wall time)"
    return [ratio(name, ms["lstm"] / ms["ours"], 2)]


def growth(*, rounds: int) -> list[Row]:
    """Time over length, and over the batch."""
    lengths = (4_480, 9_024, 18_048, 36_096)
    calls = {str(n): step(Ours(length=n), length=n) for n in lengths}
    ms = interleaved(calls, rounds=rounds)
    slope = math.log(ms["36096"] / ms["4480"]) / math.log(36_096 / 4_480)
    batch = interleaved({"1": step(Ours()), "4": step(Ours(), batch=4)}, rounds=rounds)
    return [
        Row("exponent of the time in the length, 4.5k to 36k", "≤ 1.03", f"{slope:.3f}", slope <= 1.03),
        Row("batch 4 against batch 1", "≤ 4.0 ×", f"{batch['4'] / batch['1']:.2f} ×", batch["4"] <= 4.0 * batch["1"]),
    ]


def memory() -> list[Row]:
    """Peak memory of a step, each in a process of its own, less what an empty one holds."""
    used = {name: in_fresh_process(peak_of, name) for name in MAKERS}
    mb = {name: value - used["nothing"] for name, value in used.items()}
    per_token = {name: value / (4 if "4" in name else 2) / (LENGTH / 1000) for name, value in mb.items()}
    ms = interleaved({"ours": step(Ours()), "less": step(Ours(checkpoint=True))}, rounds=2)
    return [
        Row("memory against the plain reference", "≤ 0.25 ×", f"{mb['ours'] / mb['plain']:.2f} × ({mb['ours']:.0f} MB)",
            mb["ours"] <= 0.25 * mb["plain"]),
        Row("memory per 1,000 tokens and layer", "≤ 15 MB", f"{per_token['ours']:.1f} MB", per_token["ours"] <= 15),
        Row("the same, checkpointed", "≤ 6 MB", f"{per_token['ours, checkpointed']:.1f} MB",
            per_token["ours, checkpointed"] <= 6),
        Row("the same, checkpointed, 4 layers", "≤ 6 MB", f"{per_token['ours, 4 layers, checkpointed']:.1f} MB",
            per_token["ours, 4 layers, checkpointed"] <= 6, "most of it is one layer's, whatever their number"),
        Row("time of checkpointing", "≤ 1.35 ×", f"{ms['less'] / ms['ours']:.2f} ×", ms["less"] <= 1.35 * ms["ours"]),
    ]  # fmt: skip


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "nothing": nn.Identity,
    "ours": Ours,
    "ours, checkpointed": lambda: Ours(checkpoint=True),
    "ours, 4 layers, checkpointed": lambda: Ours(layers=4, checkpoint=True),
    "plain": plain,
}


def peak_of(name: str) -> float:
    """Return the peak of one step in this process."""
    torch.set_num_threads(1)
    step(MAKERS[name]())()
    return peak_mb()


def peak_fraction(width: int, ms: float, peak_ms: float) -> float:
    """Return the share of the machine's peak, measured in the same rounds."""
    return (flops(width) / ms) / (2 * 2048**3 / peak_ms)


def ratio(name: str, value: float, least: float) -> Row:
    return Row(name, f"≥ {least:g}", f"{value:.2f}", value >= least)


def missing(name: str) -> Row:
    return Row(name, "", "n/a", None, f"the CPU has no avx512_bf16; its flags: {cpu_flags()}")


def main() -> None:
    """Run every row."""
    given = options(__doc__, quick="exactness only, on shorter sequences")
    torch.set_num_threads(1)
    spm.settings.keep_memory()
    rows = exact(quick=given.quick)
    if not given.quick:
        rows += speed(rounds=3) + wide(rounds=3) + against_transformer() + two_threads(rounds=3)
        rows += growth(rounds=2) + memory()
    gpu = torch.cuda.is_available()
    note = "" if gpu else "no GPU here; the kernel path is tested through a stand-in of the pinned signature"
    rows.append(Row("GPU: tokens per second, share of the bf16 peak", TOLD, "n/a", None, note))
    report(rows, given, title="The engine")


if __name__ == "__main__":
    main()
