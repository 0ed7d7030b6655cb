"""What a sequence adds: one residual with a bidirectional Mamba-2, an LSTM, no sequence, or genes in random order.

``python benchmarks/sequence.py [--quick] [--json FILE] [--page FILE]``. Every network learns what the same knowledge
core leaves over, with the same inputs, steps and folds of genes; it is judged on the genes of the folds it has not
seen, behind a gate that was set on other folds. The public data lie in ``$SPM_DATA`` (default: ``../shared`` beside the
project).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from _measure import TOLD, Row, machine, options, report
from accuracy import DATA, KNOWLEDGE, label
from anndata import AnnData

import scperturbmamba as spm
from scperturbmamba.data.responses import read_bundle
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.residual import Residual, residual_config

NETWORKS = {
    "BiMamba": {"mixer": "mamba2"},
    "no sequence (MLP)": {"mixer": "mlp"},
    "random order": {"mixer": "mamba2", "order": "random"},
    "LSTM": {"mixer": "lstm"},
}
_Z = 1.96


def toy(quick: bool) -> AnnData:
    """Return a toy world in which a silenced gene dims its neighbours on the chromosome."""
    n = 80 if quick else 300
    adata = spm.datasets.toy(
        n_genes=n, n_singles=n, n_doubles=0, n_outside=0, cells_per_condition=30, neighbours=3.0, random_state=11
    )
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    truth = adata.uns["toy"]
    spm.tl.gene_features(adata, ["position", "sets"], files={"position": truth["outside"], "sets": truth["gene_sets"]})
    return adata


def norman(quick: bool) -> AnnData:
    """Return the singles and doubles of Norman 2019; the doubles are not used here."""
    return screen("norman2019_k562_crispra.h5ad", "perturbation", library_size="ncounts")


def papalexi(quick: bool) -> AnnData:
    """Return the 25 knock-outs of Papalexi 2021."""
    return screen("papalexi2021_thp1_crisprko.h5ad", "target")


def morphic(quick: bool) -> AnnData:
    """Return the MorPhiC table of fold changes, its 250 genes that vary most."""
    adata = anndata.read_h5ad(DATA / "morphic_bulk_ko_lfc.h5ad")
    adata.var_names = adata.var["symbol"].astype(str).to_numpy()
    expressed = np.nan_to_num(adata.layers["baseMean"]).mean(0) > 50
    adata = adata[:, expressed & ~adata.var_names.duplicated()].copy()
    order = np.argsort(-np.nanvar(np.asarray(adata.X, np.float64), axis=0))[: 100 if quick else 250]
    adata = adata[:, np.sort(order)].copy()
    label(adata, "perturbation")
    return described(adata)


def screen(file: str, column: str, *, library_size: str | None = None) -> AnnData:
    """Read a screen of cells, label, clean, normalise and describe it."""
    adata = anndata.read_h5ad(DATA / file)
    spm.pp.perturbation_labels(adata, column)
    spm.pp.qc_perturbseq(adata)
    spm.pp.normalize(adata, library_size=library_size)
    return described(adata)


def described(adata: AnnData) -> AnnData:
    """Add places, hallmarks and STRING."""
    files: dict[str, object] = {
        "position": KNOWLEDGE / "grch38_protein_coding_genes.csv.gz",
        "hallmark": KNOWLEDGE / "hallmark.gmt",
        "string": KNOWLEDGE / "string_v12_high_confidence.csv.gz",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        spm.tl.gene_features(adata, list(files), files=files)
    return adata


WORLDS: dict[str, tuple[Callable[[bool], AnnData], str]] = {
    "toy, neighbours respond": (toy, "expression"),
    "MorPhiC": (morphic, "effect"),
    "Norman singles": (norman, "expression"),
    "Papalexi": (papalexi, "expression"),
}


def judged(adata: AnnData, response: str, training: TrainConfig) -> pd.DataFrame:
    """Return, per network, its gain over the core, that of the BiMamba over it, and what it took.

    ``gain``, ``low``, ``high``: share of what the core leaves over, on genes of folds not seen, gated; ``ungated``;
    ``behind``, ``behind_low``, ``behind_high``: by how much the BiMamba gains more, paired over genes; ``seconds``.
    """
    adata.obs["everything"] = "train"
    bundle = read_bundle(adata, response=response, split="everything", features=None)
    gates, found = {}, {}
    for name, chosen in NETWORKS.items():
        net = NetConfig(**chosen)
        frame = Frame.of(bundle, order=net.order)
        start = time.perf_counter()
        residual = Residual(residual_config(net, len(bundle.genes)), training)
        residual.fit(bundle, Knowledge().fit(bundle), frame)
        gates[name], seconds = residual.gate, time.perf_counter() - start
        if not len(residual.gate.gains):
            return pd.DataFrame()
        more = gates["BiMamba"].gains - residual.gate.gains
        found[name] = {
            "gain": residual.gate.gain,
            "low": residual.gate.gain - _Z * residual.gate.error,
            "high": residual.gate.gain + _Z * residual.gate.error,
            "ungated": residual.gate.score,
            "behind": more.mean(),
            "behind_low": more.mean() - _Z * more.std(ddof=1) / len(more) ** 0.5,
            "behind_high": more.mean() + _Z * more.std(ddof=1) / len(more) ** 0.5,
            "genes": len(more),
            "seconds": seconds,
        }
    return pd.DataFrame(found).T


def rows_of(world: str, table: pd.DataFrame) -> list[Row]:
    """Return what each network gains, and what the sequence adds."""
    if not len(table):
        told = "no network is trained: too few genes were perturbed alone"
        return [Row(f"{world}: the residual", TOLD, told, None)]
    rows = []
    for name, one in table.iterrows():
        told = f"{one.gain:+.1%} ({one.low:+.1%} to {one.high:+.1%}), ungated {one.ungated:+.1%}, {one.seconds:.0f} s"
        rows.append(Row(f"{world}: {name} over the core, {one.genes:.0f} genes left out", TOLD, told, None))
        if name != "BiMamba":
            told = f"{one.behind:+.1%} ({one.behind_low:+.1%} to {one.behind_high:+.1%})"
            wanted = "above 0" if world.startswith("toy") else TOLD
            rows.append(
                Row(
                    f"{world}: BiMamba over {name}",
                    wanted,
                    told,
                    bool(one.behind_low > 0) if world.startswith("toy") else None,
                )
            )
    return rows


def page(found: dict[str, pd.DataFrame]) -> str:
    """Return the results as a page."""
    parts = [machine()]
    for world, table in found.items():
        parts.append(f"### {world}")
        if not len(table):
            parts.append("Fewer than 24 genes were perturbed alone: no network is trained, the predictor is the core.")
            continue
        head = "| network | gain over the core | ungated | BiMamba gains more by | seconds |\n|---|---:|---:|---:|---:|"
        lines = [
            f"| {name} | {one.gain:+.1%} ({one.low:+.1%} to {one.high:+.1%}) | {one.ungated:+.1%} | "
            + ("" if name == "BiMamba" else f"{one.behind:+.1%} ({one.behind_low:+.1%} to {one.behind_high:+.1%})")
            + f" | {one.seconds:.0f} |"
            for name, one in table.iterrows()
        ]
        parts.append(f"{table['genes'].iloc[0]:.0f} genes, each left out once.")
        parts.append("\n".join([head, *lines]))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Run every world, print, and write what was asked for."""
    given = options(__doc__, quick="small worlds, few steps, the toy world alone")
    training = TrainConfig(seeds=1, folds=2 if given.quick else 3, epochs=10 if given.quick else 150)
    worlds = dict(list(WORLDS.items())[:1]) if given.quick or not Path(DATA).is_dir() else WORLDS
    found, rows = {}, []
    for name, (make, response) in worlds.items():
        found[name] = judged(make(given.quick), response, training)
        rows += rows_of(name, found[name])
        print(f"\n{name}\n{found[name].round(4).to_string()}", flush=True)
    report(rows, given, page=lambda: page(found))


if __name__ == "__main__":
    spm.settings.progress = False
    main()
