"""Drugs at doses and times: Open TG-GATEs, human hepatocytes, 100 drugs, three doses, 2, 8 and 24 hours.

``python benchmarks/drugs.py [--quick] [--json FILE] [--page FILE]``. The file lies in ``$SPM_DATA`` (default:
``../shared`` beside the project). Every effect is against the controls of its own run, found by the order of the
barcodes. Input and truth never share controls: a held-out drug has runs of its own, as has a held-out time; a held-out
dose is judged on the replicate that the model did not see.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from _judged import Effects, Judged
from _measure import TOLD, Row, options, report
from accuracy import DATA, FOLDER
from anndata import AnnData
from numpy.typing import NDArray

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.tl._model_names import make_baseline

FILE = "tggates_human_hepatocyte_dose.h5ad"
TIMES = ("2", "8", "24")
FOLDS = 10
CORE = "core with structures"
RESPONSES = (("Phenobarbital", "CYP2B6"), ("Flutamide", "CYP1A1"))  # induction through CAR, and through AHR


def read() -> AnnData:
    """Read the arrays; the time is the context, and controls are matched by the order of the barcodes."""
    adata = anndata.read_h5ad(DATA / FILE)
    adata.obs["hours"] = adata.obs["duration"].astype(str)
    adata.obs["drug"] = adata.obs["perturbation"].astype(str)
    adata.obs["replicate"] = adata.obs["individual_id"].astype(str)
    adata.obs["barcode"] = adata.obs_names.astype(int)
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="uM", perturbation_type="drug")
    spm.tl.drug_features(adata, smiles="SMILES")
    return adata


def judge(adata: AnnData, side: NDArray[np.object_], models: Sequence[str]) -> Judged:
    """Train on one side, predict the other, and return both beside what was measured there."""
    adata.obs["side"] = pd.Categorical(side)
    spm.pp.split_conditions(adata, "side", val_size=0.01)
    spm.tl.train_predictor(adata, preset="fast", context="hours")
    test = adata[adata.obs["split"] == "test"].copy()
    truth = spm.pp.pseudobulk(test, context="hours")
    truth = truth[truth.obs["perturbation"] != "control"]
    labels, hours = (truth.obs[name].astype(str).to_numpy() for name in ("perturbation", "hours"))
    said = {CORE: _core(adata, labels, hours)}
    data = Bundle.from_adata(adata, split="split", context="hours", features=None)
    for name in models:
        model = make_baseline(name).fit(data)
        found = [
            model.predict([Condition.parse(one).with_kind("drug")], context=data.contexts.index(at))[0]
            for one, at in zip(labels, hours)
        ]
        said[name] = np.array(found)
    level = test.obs.drop_duplicates("perturbation").set_index("perturbation")["dose_level"].astype(str)
    rows = pd.DataFrame({"unit": [one.split("@")[0] for one in labels], "level": list(level[labels]), "hours": hours})
    return Judged(rows, np.asarray(truth.layers["delta"]), said)


def _core(adata: AnnData, labels: NDArray[np.str_], hours: NDArray[np.str_]) -> Effects:
    found = spm.tl.predict(adata, list(dict.fromkeys(labels)))
    wanted = [f"{label} | {at}" for label, at in zip(labels, hours)]
    return np.asarray(found[wanted].layers["delta"], np.float32)


def folds(adata: AnnData, n: int) -> list[set[str]]:
    """Return folds of the drugs of which a structure is known."""
    known = adata.obs["SMILES"].astype(str).str.len() > 3
    drugs = np.array(sorted(set(adata.obs["drug"][known]) - {"control"}), dtype=object)
    return [set(some) for some in np.array_split(np.random.default_rng(0).permutation(drugs), n)]


def unseen_drugs(adata: AnnData, n: int) -> Judged:
    """Leave drugs out with all their doses and times; their runs hold no other drug."""
    spm.pp.match_controls(adata, "hours", order="barcode")
    models = ["mean", "dose_mean", "knn:drug_fingerprint", "ridge:drug_fingerprint"]
    parts = []
    for fold in folds(adata, FOLDS)[:n]:
        held = adata.obs["drug"].isin(fold).to_numpy()
        treated = adata.obs["drug"].to_numpy() != "control"
        parts.append(judge(adata, np.where(treated, np.where(held, "test", "train"), None), models))
    return Judged.of(parts)


def unseen_times(adata: AnnData, n: int) -> Judged:
    """Leave 24 hours of drugs out; 2 and 8 hours of them, and all times of the other drugs, are seen."""
    spm.pp.match_controls(adata, "hours", order="barcode")
    models = ["mean", "dose_mean", "context_mean", "context_additive"]
    parts = []
    drugs = np.array(sorted(set(adata.obs["drug"]) - {"control"}), dtype=object)
    for fold in np.array_split(np.random.default_rng(0).permutation(drugs), FOLDS)[:n]:
        held = (adata.obs["drug"].isin(fold) & (adata.obs["hours"] == "24")).to_numpy()
        treated = adata.obs["drug"].to_numpy() != "control"
        parts.append(judge(adata, np.where(treated, np.where(held, "test", "train"), None), models))
    return Judged.of(parts)


def unseen_doses(adata: AnnData, n: int) -> Judged:
    """Leave the middle dose of all drugs with a low one out; the truth is the replicate that was not seen."""
    spm.pp.match_controls(adata, ["hours", "replicate"], order="barcode")
    level, drug, replicate = (adata.obs[name].astype(str).to_numpy() for name in ("dose_level", "drug", "replicate"))
    with_low = set(drug[level == "Low"])
    middle = (level == "Middle") & np.isin(drug, list(with_low))
    parts = []
    for seen in ("1", "2")[:n]:
        side = np.full(adata.n_obs, None, dtype=object)
        side[(replicate == seen) & ~middle] = "train"
        side[(replicate != seen) & (middle | (level == "Control"))] = "test"
        models = ["mean", "dose_mean", "nearest_dose", "log_linear_dose"]
        some = adata[side != None].copy()  # noqa: E711
        parts.append(judge(some, side[side != None], models))  # noqa: E711
    return Judged.of(parts)


def main() -> None:
    """Run every table, print, and write what was asked for."""
    given = options(__doc__, quick="one fold of each")
    if not (DATA / FILE).exists():
        print(f"skipped: no data at {FOLDER}; set SPM_DATA to the folder that holds data/ and knowledge/")
        return
    spm.settings.progress = False
    warnings.simplefilter("ignore")
    adata, n = read(), 1 if given.quick else FOLDS
    drugs, doses, times = unseen_drugs(adata, n), unseen_doses(adata, min(n, 2)), unseen_times(adata, n)
    rows = [
        *table("unseen drug", drugs),
        gain("unseen drug, gain over the drug mean", drugs, "dose_mean", 0.015),
        gain("unseen drug, high dose, 24 h, gain over the drug mean", _strongest(drugs), "dose_mean", 0.025),
        *table("middle dose left out, all times", doses, 0.14),
        *table("middle dose left out, 24 h", doses.where((doses.rows["hours"] == "24").to_numpy()), 0.24),
        *table("24 h from 2 and 8 h", times),
    ]
    report(rows, given, title="Drugs, doses and times (Open TG-GATEs)")
    if given.page:
        figure(adata, given.page.resolve().parents[1] / "_static" / "drugs_tggates.png")


def figure(adata: AnnData, path: Path) -> None:
    """Draw two known responses, from a training without the middle doses; both replicates are in it."""
    spm.pp.match_controls(adata, "hours", order="barcode")
    level = adata.obs["dose_level"].astype(str)
    with_low = set(adata.obs["drug"][level == "Low"])
    held = (level == "Middle") & adata.obs["drug"].isin(with_low)
    adata.obs["side"] = pd.Categorical(np.where(level == "Control", None, np.where(held, "test", "train")))
    spm.pp.split_conditions(adata, "side", val_size=0.01)
    spm.tl.train_predictor(adata, preset="fast", context="hours")
    fig, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    for ax, (drug, gene) in zip(axes, RESPONSES):
        given = np.sort(adata.obs["dose"][adata.obs["drug"] == drug].dropna().unique())
        doses = np.union1d(np.geomspace(given[0] / 3, given[-1] * 2, 60), given)
        predicted = spm.tl.predict(adata, [f"{drug}@{dose:.6g}" for dose in doses], context="24")
        spm.pl.dose_response(predicted, gene, measured=adata, context="24", ax=ax)
        ax.set_title(f"{gene}, 24 hours", loc="left")
    fig.savefig(path, dpi=150)


def _strongest(judged: Judged) -> Judged:
    rows = judged.rows
    return judged.where(((rows["level"] == "High") & (rows["hours"] == "24")).to_numpy())


def table(name: str, judged: Judged, target: float | None = None) -> list[Row]:
    """Return a row per model: R² against no change."""
    found = []
    for model in judged.said:
        r2 = judged.r2(model)
        measured = f"{r2:+.3f} {judged.interval(lambda one, model=model: one.r2(model))}"
        own = target if model == CORE else None
        goal = TOLD if own is None else f"R² ≥ {own}"
        found.append(Row(f"{name}, {model}", goal, measured, None if own is None else r2 >= own))
    n = len(judged.rows)
    return [Row(one.name, one.target, f"{one.measured}, n = {n}", one.holds) for one in found]


def gain(name: str, judged: Judged, other: str, target: float) -> Row:
    """Return by how much of its squares the core is nearer to the truth than another model."""
    found = judged.gain(CORE, other)
    return Row(
        name, f"≥ {target:+.1%}", f"{found:+.3f} {judged.interval(lambda one: one.gain(CORE, other))}", found >= target
    )


if __name__ == "__main__":
    main()
