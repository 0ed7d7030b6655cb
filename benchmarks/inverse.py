"""The inverse task on public data: every model, what is masked and what is held out, whatever the numbers say.

``python benchmarks/inverse.py [--quick] [--json FILE] [--page FILE]``. The files lie in ``$SPM_DATA`` (default:
``../shared`` beside the project). Every setting is a default of the package but those in ``SHORTER``; nothing was
chosen on what is held out. The page is written anew after every screen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from _inverse_leak import leak_part
from _inverse_page import cost, part, write_page
from _inverse_screens import DATA, FOLDER, describe, norman, papalexi, schraivogel, toy
from _inverse_stack import stacked_top1
from _measure import TOLD, Row, options, report
from anndata import AnnData

import scperturbmamba as spm

SIMPLE = ["dictionary", "centroid", "logistic", "discriminant", "knn", "nonnegative"]
NETWORKS = ["mlp", "attention", "multihead", "cross_attention", "graph_attention", "bimamba"]
SHORT = {"epochs": 8, "units": 512}  # a fifteenth of the profiles that are the default
SHORTER = {"graph_attention": SHORT, "bimamba": SHORT}  # a token per gene: minutes per fold otherwise
DEALT = {"n": 12, "few": 2}  # dealings of Schraivogel's guides: simple models, networks
REFERENCE = ("dictionary", "centroid")  # the simple models that every other is compared with
DETECTABLE = (
    "STAT1",
    "IFNGR1",
    "IFNGR2",
    "JAK2",
    "SMAD4",
    "IRF1",
    "STAT2",
    "CUL3",
    "BRD4",
)  # effects of two halves of all cells correlate above 0.5
MODULE = {"IFNGR1", "IFNGR2", "JAK2", "STAT1"}
FEWEST = 10  # conditions of which a verdict is said


def judge(adata: AnnData, models: Sequence[str], *, hold_out: str, batch: str | None) -> None:
    """Judge the simple models with and without the target genes, the networks without."""
    spm.tl.evaluate_inverse(adata, [one for one in models if one in SIMPLE], hold_out=hold_out, batch=batch)
    networks = [one for one in models if one in NETWORKS]
    if networks:
        options = {"hold_out": hold_out, "batch": batch, "masks": ["targets"], "key_added": "networks"}
        config = {name: one for name, one in SHORTER.items() if name in networks}
        spm.tl.evaluate_inverse(adata, networks, config=config, **options)
        for name in ("scores", "summary", "answers"):
            both = [adata.uns[key][name] for key in ("inverse_evaluation", "networks")]
            adata.uns["inverse_evaluation"][name] = pd.concat(both, ignore_index=True)


def value(
    adata: AnnData, model: str, metric: str, size: str, *, mask: str = "targets", seen: str = "single"
) -> pd.Series:
    """Return one row of the summary."""
    table = adata.uns["inverse_evaluation"]["summary"]
    chosen = (table["model"] == model) & (table["metric"] == metric) & (table["size"] == size)
    return table[chosen & (table["mask"] == mask) & (table["seen"] == seen)].iloc[0]


def told(row: pd.Series) -> str:
    """Return a number with its interval, chance and candidates."""
    chance = "" if np.isnan(row["chance"]) else f", chance {row['chance']:.3f}"
    candidates = f", {int(row['n_candidates'])} candidates, {int(row['n_conditions'])} conditions"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}){chance}{candidates}"


def norman_rows(adata: AnnData, models: Sequence[str]) -> list[Row]:
    rows = []
    for mask, words in (("none", "all genes shown"), ("targets", "targets masked")):
        for size in ("50", "all"):
            for metric, target in (("top5", 0.90), ("mrr", 0.60)):
                row = value(adata, "dictionary", metric, size, mask=mask, seen="both")
                name = f"norman: {metric} of known pairs, {size} cells, {words}, dictionary"
                rows.append(Row(name, f"≥ {target:.2f}", told(row), row["value"] >= target))
    return rows


def papalexi_rows(adata: AnnData, models: Sequence[str]) -> list[Row]:
    rows = []
    for model in models:
        row = value(adata, model, "top1", "all")
        claim = model in REFERENCE
        name = f"papalexi: top-1, held-out replicate, targets masked, all cells, {model}"
        rows.append(Row(name, "≥ 0.30" if claim else TOLD, told(row), row["value"] >= 0.30 if claim else None))
    stacked = stacked_top1(adata, hold_out="bio_rep", batch="bio_rep")
    rows.append(top1_row("papalexi: the same, dictionary and centroid stacked on the training replicates", stacked))
    name = "papalexi: top-1 of the detectable targets"
    rows.append(strong_row(f"{name}, the stack", stacked, claim=False))
    for model in models:
        rows.append(strong_row(f"{name}, {model}", condition_scores(adata, model, "top1", "all"), model in REFERENCE))
    for model in REFERENCE:
        share = module_share(adata, model)
        name = f"papalexi: the same, IFNGR1, IFNGR2, JAK2 and STAT1 taken as one, {model}"
        rows.append(Row(name, "≥ 0.95", f"{share:.3f}", share >= 0.95))
        called = condition_scores(adata, model, "called_control", "all")
        weak, strong = called[~called.index.isin(DETECTABLE)].drop("control"), called[called.index.isin(DETECTABLE)]
        found = f"{(weak > 0.5).sum()} of {len(weak)}; of the detectable {(strong > 0.5).sum()} of {len(strong)}"
        name = f"papalexi: weak targets answered as indistinguishable from control, {model}"
        rows.append(Row(name, "most", found, (weak > 0.5).mean() > 0.5))
    return rows


def top1_row(name: str, top1: pd.Series) -> Row:
    found, low, high = spm.metrics.paired_bootstrap(top1)
    return Row(name, TOLD, f"{found:.3f} ({low:.3f} to {high:.3f}), chance 0.040, {len(top1)} conditions", None)


def strong_row(name: str, top1: pd.Series, claim: bool) -> Row:
    """Return top-1 of the detectable targets with its interval over them, and of the others."""
    top1 = top1.drop("control", errors="ignore")
    strong = top1[top1.index.isin(DETECTABLE)]
    found, low, high = spm.metrics.paired_bootstrap(strong)
    words = (
        f"{found:.3f} ({low:.3f} to {high:.3f}), {len(strong)} targets; the others {top1.drop(strong.index).mean():.3f}"
    )
    return Row(name, "≥ 0.70" if claim else TOLD, words, bool(found >= 0.70) if claim else None)


def condition_scores(adata: AnnData, model: str, metric: str, size: str) -> pd.Series:
    """Return the mean over folds per condition, targets masked."""
    table = adata.uns["inverse_evaluation"]["scores"]
    chosen = (table["model"] == model) & (table["metric"] == metric) & (table["size"] == size)
    return table[chosen & (table["mask"] == "targets")].groupby("condition")["value"].mean()


def module_share(adata: AnnData, model: str) -> float:
    """Return how often the best-ranked candidate of a detectable target is itself, or another of its module."""
    table = adata.uns["inverse_evaluation"]["answers"]
    chosen = (table["model"] == model) & (table["mask"] == "targets") & (table["size"] == "all")
    some = table[chosen & table["condition"].isin(DETECTABLE)]
    right = (some["condition"] == some["first"]) | (some["condition"].isin(MODULE) & some["first"].isin(MODULE))
    return float(some.loc[right, "n_units"].sum() / some["n_units"].sum())


def schraivogel_rows(adata: AnnData, models: Sequence[str]) -> list[Row]:
    rows = []
    for model in models:
        masked = value(adata, model, "top1", "all")
        found = told(masked)
        if model in SIMPLE:
            found += f"; targets shown {value(adata, model, 'top1', 'all', mask='none')['value']:.3f}"
        name = f"schraivogel: top-1, held-out guides, targets masked (leak test), {model}"
        rows.append(Row(name, "< 0.35", found, masked["value"] < 0.35))
    return rows


def calibration_rows(adata: AnnData, models: Sequence[str], world: str) -> list[Row]:
    rows = []
    for model in models:
        row = value(adata, model, "calibration_error", "every")
        claim = world == "toy" and model == "dictionary"
        name = f"{world}: calibration error over profiles of every size, {model}"
        rows.append(Row(name, "≤ 0.05" if claim else TOLD, told(row), row["value"] <= 0.05 if claim else None))
    return rows


def verdict_rows(adata: AnnData, models: Sequence[str], world: str, *, seen: str) -> list[Row]:
    """Compare each network with the two simple models, paired over conditions: MRR of profiles of 50 cells, masked."""
    table = adata.uns["inverse_evaluation"]["scores"]
    chosen = (
        (table["metric"] == "mrr") & (table["size"] == "50") & (table["mask"] == "targets") & (table["seen"] == seen)
    )
    each = table[chosen].groupby(["condition", "model"])["value"].mean().unstack("model")
    rows = []
    for model in (one for one in models if one in NETWORKS):
        words = []
        for simple in REFERENCE:
            gain, low, high = spm.metrics.paired_bootstrap(each[model] - each[simple])
            verdict = "beats" if low > 0 else "loses to" if high < 0 else "cannot be told from"
            if len(each) < FEWEST:
                verdict = f"too few conditions ({len(each)}) to compare with"
            words.append(f"{verdict} the {simple} ({gain:+.3f}, {low:+.3f} to {high:+.3f})")
        rows.append(Row(f"{world}: MRR of {model}, 50 cells, targets masked", TOLD, "; ".join(words), None))
    return rows


CLAIMS = {
    "norman": norman_rows,
    "papalexi": papalexi_rows,
    "schraivogel": schraivogel_rows,
    "toy": lambda adata, models: [],
}


def main() -> None:
    """Run every screen, print, and write what was asked for."""
    given = options(__doc__, quick="simple models")
    if not DATA.is_dir():
        print(f"skipped: no data at {FOLDER}; set SPM_DATA to the folder that holds data/ and knowledge/")
        return
    spm.settings.progress = False
    models = SIMPLE if given.quick else [*SIMPLE, *NETWORKS]
    page, given.page = given.page, None
    rows, parts, seconds = [], [], {}
    screens = {
        "papalexi": (papalexi, "bio_rep", "bio_rep", "single", "Papalexi 2021: a replicate held out, 25 candidates"),
        "schraivogel": (
            schraivogel,
            "guide_identity",
            None,
            "single",
            "Schraivogel 2020: guides held out, the leak test",
        ),
        "toy": (toy, "batch", "batch", "single", "The toy world: a batch held out, 60 candidates"),
        "norman": (norman, "doubles", None, "both", "Norman 2019: trained on singles, 153 candidate pairs"),
    }
    for name, (read, hold_out, batch, seen, title) in screens.items():
        start, adata = time.process_time(), read()
        if name != "toy" and not given.quick:
            describe(adata)
        own = SIMPLE if name == "toy" else models
        own = [one for one in own if name != "norman" or one not in SHORTER]
        judge(adata, own, hold_out=hold_out, batch=batch)
        found = CLAIMS[name](adata, own)
        found += calibration_rows(adata, own, name) if seen == "single" else []
        found += verdict_rows(adata, own, name, seen=seen)
        parts.append(part(title, adata, seen=seen))
        if name == "schraivogel" and not given.quick:
            more, claims = leak_part(adata, SIMPLE, ["mlp", "attention"], far=REFERENCE, **DEALT)
            parts, found = [*parts, more], [*found, *claims]
        for row in found:
            print(row, flush=True)
        rows += [replace(row, holds=None if row.holds is None else bool(row.holds)) for row in found]
        seconds[name] = time.process_time() - start
        if page:
            write_page(page, rows, parts, cost="" if given.quick else cost(seconds, SHORTER))
    report(rows, given, title="The inverse task")


if __name__ == "__main__":
    main()
