"""A screen in silico: the first layer that sees the condition from a cache, and 18,000 perturbations of 18,000 genes.

``python benchmarks/screen.py [--quick] [--full] [--json FILE] [--page FILE]``. Process time of one thread. Without
``--full`` a few batches are timed and multiplied; with it every perturbation is run and written to a file.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from _measure import TOLD, Row, interleaved, options, report
from torch import Tensor

import scperturbmamba as spm
from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.mixers import Layer
from scperturbmamba.engine.predictor import Predictor, Sizes
from scperturbmamba.engine.screen import FirstLayer, Screener
from scperturbmamba.engine.tokens import ConditionInputs, GeneInputs
from scperturbmamba.tl._effect_file import EffectFile

GENES = 18_000
WIDE = {"width": 128, "state": 64, "head_width": 128}


def first_layer(n_genes: int, *, rounds: int) -> list[Row]:
    """One layer at width 128: run in full, and from the cache."""
    layer = Layer(NetConfig(**WIDE), n_genes + 1)
    genes, tokens = torch.randn(n_genes, 128), torch.randn(14, 128)
    first = FirstLayer(layer, genes)

    def in_full() -> Tensor:
        return layer(torch.cat([tokens[:1, None], genes[None]], dim=1), has_condition=True)

    ms = interleaved({"full": in_full, "cached": lambda: first(tokens)}, rounds=rounds)
    ms["cached"] /= len(tokens)
    expected = in_full()
    error = float((first(tokens[:1]) - expected).norm() / expected.norm())
    gain = ms["full"] / ms["cached"]
    cached = f"{gain:.1f} × ({ms['full']:.0f} → {ms['cached']:.1f} ms)"
    return [
        Row("first conditioned layer from the cache, width 128", "≥ 6 ×", cached, gain >= 6),
        Row("its error (relative L2)", "≤ 1e-5", f"{error:.1e}", error <= 1e-5),
    ]


def network(n_genes: int, **net: int) -> Predictor:
    """Return an untrained network for so many genes."""
    genes = GeneInputs(torch.arange(n_genes) * 25 // n_genes, torch.randn(n_genes, 16), torch.randn(n_genes, 64))
    sizes = Sizes(n_parts=500, n_kinds=2, n_part_features=64, n_code=16, n_covariates=1)
    return Predictor(NetConfig(**net), genes, sizes, state=torch.randn(1, n_genes)).eval()


def conditions(first: int, last: int) -> ConditionInputs:
    """Return single perturbations of genes."""
    n = last - first
    return ConditionInputs(
        index=torch.zeros(n, 1, dtype=torch.int64),
        kind=torch.ones(n, 1, dtype=torch.int64),
        features=torch.randn(n, 1, 64),
        code=torch.randn(n, 1, 16),
        present=torch.ones(n, 1, dtype=torch.bool),
        place=torch.arange(first, last)[:, None],
        context=torch.zeros(n, dtype=torch.int64),
        covariates=torch.zeros(n, 1),
    )


def whole(name: str, n_genes: int, limit: float | None, *, full: bool, **net: int) -> Row:
    """A screen of every gene; ``limit`` in minutes."""
    screener, batch = Screener(network(n_genes, **net)), 14
    screener(conditions(0, batch))  # what is shared
    n = n_genes if full else 4 * batch
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        with EffectFile(Path(folder) / "screen.h5ad", (n, n_genes), fingerprint=name) as file:
            for first in range(0, n, batch):
                file.write(screener(conditions(first, min(first + batch, n))).shift.numpy())
    minutes = (time.process_time() - start) / n * n_genes / 60
    how = "all of them run and written" if full else f"{n} run and written, multiplied"
    target = TOLD if limit is None else f"≤ {limit:g} min"
    found = f"{minutes:.1f} min ({minutes * 6e4 / n_genes:.0f} ms each; {how})"
    return Row(f"{n_genes:,} × {n_genes:,}, {name}", target, found, limit is None or minutes <= limit)


def main() -> None:
    """Run every row."""
    given = options(__doc__, quick="fewer genes", full="run every perturbation of the timed screen")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spm.settings.keep_memory()
    n_genes = 2_000 if given.quick else GENES
    with torch.no_grad():
        rows = first_layer(n_genes, rounds=2 if given.quick else 5)
        if not given.quick:
            late = {**WIDE, "layers": 4, "static_layers": 3}
            rows.append(whole("4 layers of which 3 static, width 128", n_genes, 10, full=given.full, **late))
            rows.append(whole("the default network (2 layers, width 48)", n_genes, None, full=False))
    report(rows, given, title="A screen of all genes")


if __name__ == "__main__":
    main()
