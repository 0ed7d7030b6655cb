"""A line of cells left out, but for its controls and a few perturbations, in the toy world of two lines.

``python benchmarks/contexts.py [--quick] [--json FILE] [--page FILE]``. The lines answer differently. All perturbations
are seen in the first; in the second only the controls, and none, 5, 10, 20 or 40 perturbations. Judged against measured
effects of the others.
"""

from __future__ import annotations

import warnings

import numpy as np
from _judged import Judged
from _measure import TOLD, Row, options, report
from anndata import AnnData

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.tl._model_names import make_baseline

SHOTS = (0, 5, 10, 20, 40)
CORE, BASELINES = "core", ("mean", "context_mean", "context_additive")
LINE = "cell_line"


def world(seed: int, *, quick: bool) -> AnnData:
    """Return a labelled, normalised screen of two lines, with noisy gene sets as features."""
    sizes = {"n_genes": 120, "n_singles": 60} if quick else {"n_genes": 300, "n_singles": 150}
    adata = spm.datasets.toy(**sizes, n_doubles=1, cells_per_condition=60, n_control=600, random_state=seed)
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    return adata


def judge(adata: AnnData, shots: int) -> Judged:
    """Leave the second line out but for some perturbations, and predict the rest of it."""
    held = sorted(adata.obs[LINE].astype(str).unique())[1]
    spm.pp.split_conditions(adata, "context", context=LINE, held_out=held, n_shots=shots)
    spm.tl.gene_features(adata, ["sets"], files={"sets": adata.uns["toy"]["gene_sets"]})
    spm.tl.train_predictor(adata, preset="fast", context=LINE)
    truth = spm.pp.pseudobulk(adata[adata.obs["split"] == "test"].copy(), context=LINE)
    truth = truth[truth.obs["perturbation"] != "control"]
    labels = list(truth.obs["perturbation"].astype(str))
    data = Bundle.from_adata(adata, split="split", context=LINE, features=None)
    conditions = [Condition.parse(label).with_kind("CRISPRi") for label in labels]
    said = {CORE: np.asarray(spm.tl.predict(adata, labels, context=held).layers["delta"])}
    for name in BASELINES:
        said[name] = make_baseline(name).fit(data).predict(conditions, context=data.contexts.index(held))
    return Judged(truth.obs.assign(unit=labels), np.asarray(truth.layers["delta"]), said)


def main() -> None:
    """Run every number of shots, print, and write what was asked for."""
    given = options(__doc__, quick="one small world, three numbers of shots")
    spm.settings.progress = False
    warnings.simplefilter("ignore")
    seeds, shots = ((0,), SHOTS[:3]) if given.quick else ((0, 1, 2), SHOTS)
    worlds = [world(seed, quick=given.quick) for seed in seeds]
    rows = []
    for number in shots:
        judged = Judged.of([judge(adata, number) for adata in worlds])
        for model in (CORE, *BASELINES):
            r2 = judged.r2(model)
            measured = f"{r2:+.3f} {judged.interval(lambda one, model=model: one.r2(model))}, n = {len(judged.rows)}"
            rows.append(
                Row(f"{number} perturbations seen in the line, {model}: R² against no change", TOLD, measured, None)
            )
        gain = judged.gain(CORE, "context_mean")
        interval = judged.interval(lambda one: one.gain(CORE, "context_mean"))
        rows.append(
            Row(f"{number} seen: core over the mean of the other line", "≥ 0", f"{gain:+.3f} {interval}", gain >= 0)
        )
    report(rows, given, title="A line of cells left out (toy world)")


if __name__ == "__main__":
    main()
