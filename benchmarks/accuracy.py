"""The whole journey on two public screens: the network beside the baselines, whatever the numbers say.

``python benchmarks/screens.py [--quick] [--json FILE] [--pages FOLDER]``. The screens lie in ``$SPM_DATA`` (default:
``../shared`` beside the project). ``--pages`` writes a Markdown page and its figures for the docs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

import scperturbmamba as spm

FOLDER = Path(os.environ.get("SPM_DATA", Path(__file__).parents[2] / "shared"))
KNOWLEDGE = FOLDER / "knowledge"


@dataclass(frozen=True)
class Screen:
    """A public screen and how it is read."""

    name: str
    title: str
    file: str
    column: str
    library_size: str | None
    example: str


SCREENS = (
    Screen("norman", "Norman 2019 (K562, CRISPRa)", "norman2019_k562_crispra.h5ad", "perturbation", "ncounts", "KLF1"),
    Screen("papalexi", "Papalexi 2021 (THP-1, knock-out)", "papalexi2021_thp1_crisprko.h5ad", "target", None, "STAT1"),
)


def prepare(screen: Screen) -> anndata.AnnData:
    """Read, label, clean, normalise and split a screen, and describe its genes."""
    adata = anndata.read_h5ad(FOLDER / "data" / screen.file)
    spm.pp.perturbation_labels(adata, screen.column)
    spm.pp.qc_perturbseq(adata)
    spm.pp.normalize(adata, library_size=screen.library_size)
    spm.pp.split_conditions(adata)
    files = {
        "position": KNOWLEDGE / "grch38_protein_coding_genes.csv.gz",
        "pathway": KNOWLEDGE / "hallmark.gmt",
        "hallmark": KNOWLEDGE / "hallmark.gmt",
    }
    spm.tl.gene_features(adata, ["identity", "position", "pathway", "hallmark"], files=files)
    return adata


def run(screen: Screen, *, quick: bool) -> tuple[anndata.AnnData, pd.DataFrame, float]:
    """Return the screen, scores per model, condition, seed and metric, and the processor seconds of one training."""
    adata = prepare(screen)
    train = {"epochs": 10} if quick else {}
    seeds = (0,) if quick else (0, 1, 2)
    tables = []
    started = time.process_time()
    for head in ("linear", "nb"):
        names = ["no_change", "mean", "additive", "bimamba"] if head == "linear" else ["bimamba"]
        spm.tl.benchmark(adata, names, net={"head": head}, train=train, seeds=seeds)
        scores = spm.get.scores(adata)
        tables.append(scores.replace({"model": {"bimamba": f"bimamba ({head})"}}))
    seconds = (time.process_time() - started) / (2 * len(seeds))
    spm.tl.train_predictor(adata, head="nb", train=train)
    return adata, pd.concat(tables, ignore_index=True), seconds


def rows(screen: Screen, scores: pd.DataFrame) -> list[dict[str, object]]:
    """Return a row per metric: the network beside the training mean, paired over held-out conditions."""
    wide = scores.groupby(["metric", "model", "perturbation"])["value"].mean().unstack("model")
    found = []
    for metric, table in wide.groupby(level="metric"):
        ours, mean = table["bimamba (linear)"], table["mean"]
        sign = -1 if metric in ("mse", "l2") else 1
        gain = sign * (ours - mean)
        low, high = bootstrap(gain.to_numpy())
        found.append(
            {
                "name": f"{screen.name}: {metric}",
                "measured": float(ours.mean()),
                "unit": "mean over held-out conditions",
                "reference": float(mean.mean()),
                "ratio": float(ours.mean() / mean.mean()) if mean.mean() else None,
                "target": f"paired gain over the training mean above 0 (95 %: {low:+.3f} to {high:+.3f})",
                "holds": bool(low > 0),
            }
        )
    return found


def bootstrap(gain: np.ndarray, *, n: int = 2000) -> tuple[float, float]:
    """Return the 95 % interval of the mean over conditions."""
    drawn = np.random.default_rng(0).choice(gain, (n, len(gain))).mean(1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def page(screen: Screen, adata: anndata.AnnData, scores: pd.DataFrame, seconds: float, folder: Path) -> str:
    """Write the figures of a screen and return its part of the page."""
    predicted = spm.tl.predict(adata, screen.example)
    figures = {
        "loss": spm.pl.loss_curves(adata)[0],
        "effect": spm.pl.effect(predicted, screen.example, measured=spm.pp.pseudobulk(adata)),
    }
    for name, ax in figures.items():
        figure = ax.get_figure(root=True)
        figure.savefig(folder / f"{screen.name}_{name}.png", dpi=150)
        plt.close(figure)
    table = summary(scores)
    n_test, n_train = scores["perturbation"].nunique(), adata.uns["predictor"]["report"]["n_train"]
    verdict = "\n".join(
        f"- {row['name'].split(': ')[1]}: {row['target']}: {'yes' if row['holds'] else 'no'}"
        for row in rows(screen, scores)
    )
    return (
        f"## {screen.title}\n\n"
        f"{adata.n_obs:,} cells × {adata.n_vars} genes after QC; {n_train} training and {n_test} held-out conditions; "
        f"{seconds:.0f} s of processor time per training on this machine.\n\n{table}\n\n"
        f"Linear head against the training mean, paired over held-out conditions:\n\n{verdict}\n\n"
        f"![Loss and R²]({screen.name}_loss.png)\n\n"
        f"![Effect of {screen.example}, a {adata.obs.loc[adata.obs.perturbation == screen.example, 'split'].iloc[0]} "
        f"condition]({screen.name}_effect.png)\n"
    )


def summary(scores: pd.DataFrame) -> str:
    """Return models × metrics as Markdown, averaged over held-out conditions and seeds."""
    wide = scores.pivot_table(index="model", columns="metric", values="value", aggfunc="mean", sort=False)
    head = "| model | " + " | ".join(wide.columns) + " |\n|" + "---|" * (wide.shape[1] + 1)
    return "\n".join(
        [head, *(f"| {name} | " + " | ".join(f"{v:.3g}" for v in row) + " |" for name, row in wide.T.items())]
    )


def main() -> None:
    """Run the screens and print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pages", type=Path)
    options = parser.parse_args()
    if not (FOLDER / "data").is_dir():
        print(f"skipped: no screens at {FOLDER}; set SPM_DATA to the folder that holds data/ and knowledge/")
        return
    results, parts = [], []
    for screen in SCREENS:
        adata, scores, seconds = run(screen, quick=options.quick)
        print(f"\n{screen.title}\n{summary(scores)}")
        results += rows(screen, scores)
        if options.pages:
            options.pages.mkdir(parents=True, exist_ok=True)
            parts.append(page(screen, adata, scores, seconds, options.pages))
    print(pd.DataFrame(results).to_string(index=False))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if options.pages:
        (options.pages / "screens.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
