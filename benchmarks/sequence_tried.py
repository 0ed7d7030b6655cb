"""Other ways to lay out the sequence of the residual: what each adds to the same network without it.

``python benchmarks/sequence_tried.py [--quick] [--json FILE] [--page FILE]``. Worlds, core, folds, steps and gate are
those of ``sequence.py``. The variants stand in ``_variants.py`` and not in the package, as none of them was kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from _measure import TOLD, Row, machine, options, report
from _variants import along_the_graph, varied
from accuracy import DATA
from anndata import AnnData
from numpy.typing import NDArray
from sequence import WORLDS

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.responses import read_bundle
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.residual import Residual, residual_config

MIXERS = {"mamba2": "BiMamba", "lstm": "LSTM", "mlp": "MLP"}
TRIED = {
    "graph": "genes that are alike stand side by side",
    "blocks": "the state starts anew at each chromosome",
    "every": "the condition is added to every token",
    "pool": "the mean over tokens is given back to each",
}
ORDERED = ("graph", "blocks")  # an MLP cannot tell them from nothing
_WORLDS = ("toy, neighbours respond", "MorPhiC")
_Z = 1.96

Gains = dict[tuple[str, str], NDArray[np.float64]]


def gains(data: Bundle, mixer: str, variant: str, training: TrainConfig) -> NDArray[np.float64]:
    """Return the gated gain of each gene left out, over the core."""
    net = NetConfig(mixer=mixer)
    frame = along_the_graph(Frame.of(data)) if variant == "graph" else Frame.of(data)
    residual = Residual(residual_config(net, len(data.genes)), training)
    with varied({variant} - {"", "graph"}):
        residual.fit(data, Knowledge().fit(data), frame)
    print(mixer, variant or "as it is", residual.gate.words(), f"ungated {residual.gate.score:+.1%}", flush=True)
    return residual.gate.gains


def tried(data: Bundle, training: TrainConfig) -> Gains:
    """Return, for each mixer and variant, the gain of every gene (genes,)."""
    found: Gains = {}
    for variant in ("", *TRIED):
        for mixer in MIXERS:
            if mixer != "mlp" or variant not in ORDERED:
                found[mixer, variant] = gains(data, mixer, variant, training)
    return found


def more(one: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Return a difference with its interval, paired over genes."""
    apart = one - other
    error = _Z * apart.std(ddof=1) / len(apart) ** 0.5
    mean = apart.mean()
    return f"{mean:+.1%} ({mean - error:+.1%} to {mean + error:+.1%})"


def table_of(found: Gains) -> pd.DataFrame:
    """Return a row per variant: what it adds to each network, and how the BiMamba with it compares with the others."""
    rows = {}
    for variant, words in {"": "as it is", **TRIED}.items():
        own = {mixer: found.get((mixer, variant), found[mixer, ""]) for mixer in MIXERS}
        changed = [mixer for mixer in MIXERS if variant and (mixer, variant) in found]
        added = {f"{MIXERS[mixer]} gains by it": more(own[mixer], found[mixer, ""]) for mixer in changed}
        over = {f"BiMamba over {MIXERS[mixer]}": more(own["mamba2"], own[mixer]) for mixer in ("lstm", "mlp")}
        rows[words] = {**dict.fromkeys((f"{name} gains by it" for name in MIXERS.values()), ""), **added, **over}
    return pd.DataFrame(rows).T


def rows_of(world: str, found: Gains) -> list[Row]:
    """Return what each variant adds."""
    return [
        Row(f"{world}: {TRIED[variant]}, {MIXERS[mixer]}", TOLD, more(one, found[mixer, ""]), None)
        for (mixer, variant), one in found.items()
        if variant
    ]


def page(tables: dict[str, pd.DataFrame]) -> str:
    """Return the results as a page."""
    parts = [machine()]
    for world, table in tables.items():
        head = "| | " + " | ".join(table.columns) + " |\n|---|" + "---:|" * table.shape[1]
        lines = [f"| {name} | {' | '.join(row)} |" for name, row in zip(table.index, table.to_numpy(str))]
        parts += [f"### {world}: other ways to lay out the sequence", "\n".join([head, *lines])]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Run both worlds, print, and write what was asked for."""
    given = options(__doc__, quick="a small toy world, few steps")
    training = TrainConfig(folds=2 if given.quick else 3, epochs=10 if given.quick else 150)
    training = training.model_copy(update={"seeds": 0})  # the gate is judged, the networks behind it are not needed
    rows, tables = [], {}
    for world in _WORLDS[:1] if given.quick or not Path(DATA).is_dir() else _WORLDS:
        make, response = WORLDS[world]
        adata: AnnData = make(given.quick)
        adata.obs["everything"] = "train"
        found = tried(read_bundle(adata, response=response, split="everything", features=None), training)
        rows += rows_of(world, found)
        tables[world] = table_of(found)
        print(f"\n{world}\n{tables[world].to_string()}", flush=True)
    report(rows, given, page=lambda: page(tables))


if __name__ == "__main__":
    spm.settings.progress = False
    main()
