"""Schraivogel with the targets masked: is what is left a leak, a neighbour on the chromosome, or luck.

The guides of a gene are dealt into three folds. One dealing judges 30 profiles of all cells, ten targets three times,
so that a number from it is coarse. Here the guides are dealt anew many times. Beside it stand the guides given to the
ten genes at random, the cells of a guide kept together: a model that finds those reads something that it should not.
And the genes that lie near a target are masked as well: CRISPR interference reaches the next promoter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from _inverse_screens import KNOWLEDGE, PROMOTERS
from _measure import Row
from anndata import AnnData

import scperturbmamba as spm

NEAR = 100_000  # base pairs between two genes
LIMIT = 0.35


@dataclass(frozen=True)
class Dealt:
    """Top-1 of profiles of all cells: (targets × dealings), mean over the folds."""

    top1: pd.DataFrame

    @property
    def means(self) -> np.ndarray:
        """(dealings,)."""
        return self.top1.mean(0).to_numpy()

    def told(self) -> str:
        """Return the mean with its interval over targets, and the range of the dealings."""
        value, low, high = spm.metrics.paired_bootstrap(self.top1.mean(1))
        return f"{value:.3f} ({low:.3f} to {high:.3f}), dealings {self.means.min():.3f} to {self.means.max():.3f}"


def leak_part(
    adata: AnnData, models: Sequence[str], networks: Sequence[str], *, far: Sequence[str], n: int, few: int
) -> tuple[str, list[Row]]:
    """Return a part of the page, and its claims.

    Networks are dealt ``few`` times, the others ``n`` times; those in ``far`` without the neighbours too.
    """
    near = neighbours(adata)
    fewer = adata[:, ~adata.var_names.isin(near)].copy()
    spm.pp.normalize(fewer)
    lines, rows, at_random = [], [], []
    for model in (*models, *networks):
        times = few if model in networks else n
        true = dealings(adata, model, times)
        shuffled = dealings(adata, model, times, shuffled=True)
        cells = [model, str(times), true.told(), f"{(true.means >= LIMIT).sum()}", shuffled.told()]
        without = dealings(fewer, model, times).told() if model in far else ""
        lines.append("| " + " | ".join([*cells, without]) + " |")
        at_random.append(shuffled.means)
        found = f"{true.told()}; {times} dealings, 10 targets"
        name = f"schraivogel: the leak test over many dealings of the guides, {model}"
        rows.append(Row(name, f"< {LIMIT}", found, bool(true.means.mean() < LIMIT)))
    own = np.array([one.mean() for one in at_random])
    error = np.array([one.std(ddof=1) / np.sqrt(len(one)) for one in at_random])
    found = f"{own.min():.3f} to {own.max():.3f} by model, chance 0.100; the standard errors up to {error.max():.3f}"
    rows.append(
        Row(
            "schraivogel: guides given to genes at random, every model",
            "chance",
            found,
            bool((own < 0.1 + 3 * error).all()),
        )
    )
    words = f"Genes within {NEAR // 1000} kb of a target, masked in the last column: {', '.join(sorted(near))}."
    head = (
        "| model | dealings | top-1 of all cells, targets masked | at or above 0.35 | "
        "guides given to genes at random | neighbours masked too |\n|---|---:|---|---:|---|---|"
    )
    title = "## Schraivogel 2020: a leak, or luck"
    return "\n\n".join([title, "\n".join([head, *lines]), words]), rows


def dealings(adata: AnnData, model: str, n: int, *, shuffled: bool = False) -> Dealt:
    """Deal the guides n times, in a drawn order; ``shuffled`` first gives the targeting guides to genes at random."""
    screen = adata.copy()
    guide = adata.obs["guide_identity"].astype(str)
    gene = adata.obs["perturbation"].astype(str).groupby(guide).first()
    found = {}
    for seed in range(n):
        rng = np.random.default_rng(seed)
        order = pd.Series([f"{place:03d}" for place in rng.permutation(len(gene))], gene.index)
        given = gene.copy()
        if shuffled:
            targeting = gene.index[gene != "control"]
            given[targeting] = rng.permutation(gene[targeting].to_numpy())
        screen.obs["dealt"] = guide.map(order).to_numpy()
        screen.obs["perturbation"] = pd.Categorical(guide.map(given))
        spm.tl.evaluate_inverse(screen, model, hold_out="dealt", masks=["targets"], cells=["all"])
        table = screen.uns["inverse_evaluation"]["scores"].query("metric == 'top1' and condition != 'control'")
        found[seed] = table.groupby("condition")["value"].mean()
    return Dealt(pd.DataFrame(found))


def neighbours(adata: AnnData) -> set[str]:
    """Return the measured genes that lie near one of the targets."""
    table = pd.read_csv(KNOWLEDGE / "grch38_protein_coding_genes.csv.gz").drop_duplicates("symbol").set_index("symbol")
    table = table.loc[table.index.intersection(adata.var_names)]
    near: set[str] = set()
    for one in PROMOTERS:
        target = table.loc[one]
        gap = np.maximum(table["start"] - target["end"], target["start"] - table["end"])
        near |= set(table.index[(table["chr"] == target["chr"]) & (gap < NEAR)])
    return near - set(PROMOTERS)
