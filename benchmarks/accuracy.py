"""Held-out perturbations of public data: every baseline, the network and the ceiling, whatever the numbers say.

``python benchmarks/accuracy.py [--quick] [--json FILE] [--page FILE]``. The files lie in ``$SPM_DATA`` (default:
``../shared`` beside the project). ``--page`` writes a Markdown page, with its figures beside it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from _measure import TOLD, Row, machine, options, report
from anndata import AnnData
from matplotlib import pyplot as plt
from scipy.stats import binom

import scperturbmamba as spm
from scperturbmamba._judging import HEADLINE
from scperturbmamba.tl._comparison import in_words

FOLDER = Path(os.environ.get("SPM_DATA", Path(__file__).parents[2] / "shared"))
DATA, KNOWLEDGE = FOLDER / "data", FOLDER / "knowledge"
PLAIN = ["no_change", "mean", "matching_mean", "additive", "scaled_additive", "bilinear"]
FEATURED = ["nearest", "knn", "ridge", "knn_shuffled", "ridge_shuffled"]


def norman(quick: bool) -> AnnData:
    """Doubles of which both singles were seen; the controls are divided in five ways, the doubles stay the same."""
    adata = read("norman2019_k562_crispra.h5ad", "perturbation", library_size="ncounts")
    conditions = sorted(set(adata.obs["perturbation"].dropna()) - {"control"})
    singles = {one for one in conditions if "+" not in one}
    doubles = [one for one in conditions if "+" in one]
    test = [one for one in doubles if set(one.split("+")) <= singles]
    strangers = [one for one in doubles if not set(one.split("+")) & singles]
    sides = {"test": test, "val": strangers[:3], "train": sorted(set(conditions) - {*test, *strangers[:3]})}
    splits = [f"controls{number}" for number in range(2 if quick else 5)]
    for number, name in enumerate(splits):
        spm.pp.split_conditions(adata, sides, test_size=0.5, random_state=number, key_added=name)
    describe(adata)
    spm.tl.benchmark(adata, [*PLAIN, "knowledge", "bimamba"], splits=splits, net={"head": "nb"}, train=epochs(quick))
    return adata


def one_double_out(adata: AnnData) -> Row:
    """Return what a coefficient learned from the other doubles is worth: each of the five is left out in turn."""
    held_out = list(adata.uns["benchmark"]["conditions"]["perturbation"].unique())
    others = sorted(set(adata.obs["perturbation"].dropna()) - {"control", *held_out})
    val = [one for one in others if adata.obs.loc[adata.obs["perturbation"] == one, "controls0"].iloc[0] == "val"]
    train = [one for one in others if one not in val]
    names = [f"without{number}" for number in range(len(held_out))]
    for name, one in zip(names, held_out):
        sides = {"test": [one], "val": val, "train": [*train, *(other for other in held_out if other != one)]}
        spm.pp.split_conditions(adata, sides, test_size=0.5, key_added=name)
    spm.tl.benchmark(adata, ["mean", "additive", "scaled_additive"], splits=names, key_added="one_out")
    l2 = adata.uns["one_out"]["summary"]["l2"]
    told = f"{l2['scaled_additive']:.3f}, additive {l2['additive']:.3f}, mean {l2['mean']:.3f}, n = {len(held_out)}"
    return Row("norman: L2 of the scaled sum, coefficient from the other doubles", TOLD, told, None)


def one_single_out(adata: AnnData) -> Row:
    """Return what the measured doubles tell of a single that was left out, for each that stands beside a seen one."""
    conditions = sorted(set(adata.obs["perturbation"].dropna()) - {"control"})
    singles = {one for one in conditions if "+" not in one}
    pairs = [set(one.split("+")) for one in conditions if "+" in one]
    held_out = [one for one in sorted(singles) if any(one in pair and pair <= singles for pair in pairs)]
    val = [one for one in conditions if "+" in one and not set(one.split("+")) & singles][:3]
    names = [f"single{number}" for number in range(len(held_out))]
    for name, one in zip(names, held_out):
        sides = {"test": [one], "val": val, "train": [other for other in conditions if other not in {one, *val}]}
        spm.pp.split_conditions(adata, sides, test_size=0.5, key_added=name)
    spm.tl.benchmark(adata, ["mean", "ridge", "knowledge"], splits=names, key_added="single_out")
    l2 = adata.uns["single_out"]["summary"]["l2"]
    told = f"{l2['knowledge']:.3f}, ridge {l2['ridge']:.3f}, mean {l2['mean']:.3f}, n = {len(held_out)}"
    return Row("norman: L2 of singles left out that stand in measured doubles, knowledge", TOLD, told, None)


def few_cells(adata: AnnData, n_cells: int, *, draws: int = 5) -> Row:
    """Return what doubles are predicted to be where only so many cells of every training single are there."""
    splits = [name for name in adata.obs if name.startswith("controls")][:draws]
    names = []
    for number, split in enumerate(splits):
        rng = np.random.default_rng(number)
        side = adata.obs[split].astype(object).to_numpy().copy()
        labels = adata.obs["perturbation"].astype(str)
        for one in sorted({name for name in labels if "+" not in name} - {"control", "nan"}):
            cells = np.flatnonzero((labels == one).to_numpy() & (side == "train"))
            side[rng.permutation(cells)[n_cells:]] = np.nan
        names.append(f"few{n_cells}_{number}")
        adata.obs[names[-1]] = pd.Categorical(side, categories=["train", "val", "test"])
    spm.tl.benchmark(adata, ["mean", "additive", "knowledge"], splits=names, key_added="few")
    l2 = adata.uns["few"]["summary"]["l2"]
    less = l2["knowledge"] / l2["additive"] - 1
    told = f"{l2['knowledge']:.3f}, additive {l2['additive']:.3f} ({less:+.0%}), mean {l2['mean']:.3f}"
    return Row(f"norman: L2 of doubles, {n_cells} cells per single, knowledge", TOLD, told, None)


def covered(name: str, adata: AnnData) -> list[Row]:
    """Return how many measurements of held-out conditions lie in their intervals, over the folds.

    The target is the binomial interval of as many conditions, as if the genes of a condition went together.
    """
    tables, held_out = [], set()
    for split in adata.uns["benchmark"]["params"]["splits"]:
        response = adata.uns["benchmark"]["params"]["response"]
        spm.tl.train_predictor(adata, preset="fast", response=response, key=split, key_added="fast")
        test = adata.obs.loc[(adata.obs[split] == "test") & ~adata.obs["is_control"], "perturbation"].unique()
        predicted = spm.tl.predict(adata, sorted(test), key="fast")
        spm.tl.evaluate(predicted, adata, key=split)
        tables.append(predicted.uns["evaluation"]["coverage"].set_index("nominal"))
        held_out |= set(test)
    del adata.uns["fast"]
    return [coverage_row(name, tables, level, len(held_out)) for level in (0.5, 0.8, 0.9)]


def coverage_row(name: str, tables: list[pd.DataFrame], level: float, n: int) -> Row:
    """Return the coverage at a level over several splits of so many conditions; one held out twice counts once."""
    some = pd.DataFrame([table.loc[level] for table in tables])
    share = some["n"] / some["n"].sum()
    mean, error = share @ some["observed"], np.sqrt(np.square(share * (some["high"] - some["observed"])).sum())
    error *= np.sqrt(some["n"].sum() / n)
    low, high = binom.interval(0.95, n, level) / np.float64(n)
    over = f"95 % interval over {n} conditions {mean - error:.1%} to {mean + error:.1%}"
    told = f"{mean:.1%} ({over}; binomial {low:.1%} to {high:.1%})"
    title = f"{name}: measurements inside the {level:.0%} interval"
    return Row(title, f"{low:.1%} to {high:.1%}", told, bool(low <= mean <= high))


def papalexi(quick: bool) -> AnnData:
    """Genes never perturbed in training, in five folds."""
    adata = read("papalexi2021_thp1_crisprko.h5ad", "target")
    splits = folds(adata, 2 if quick else 5)
    describe(adata)
    spm.tl.benchmark(adata, [*PLAIN, *FEATURED, "knowledge", "bimamba"], splits=splits, train=epochs(quick))
    return adata


def morphic(quick: bool) -> AnnData:
    """Bulk knock-outs as fold changes of 22,864 genes, weighted by how sure they are; genes left out in five folds."""
    adata = anndata.read_h5ad(DATA / "morphic_bulk_ko_lfc.h5ad")
    adata.var_names = adata.var["symbol"].astype(str).to_numpy()
    expressed = np.nan_to_num(adata.layers["baseMean"]).mean(0) > 50
    adata = adata[:, expressed & ~adata.var_names.duplicated()].copy()
    padj = np.nan_to_num(np.asarray(adata.layers["padj"], np.float64), nan=1.0)
    adata.layers["weight"] = np.maximum(1 - padj, 0.05).astype(np.float32)
    label(adata, "perturbation")
    splits = folds(adata, 2 if quick else 5)
    describe(adata, go=True, expression=False)
    spm.tl.benchmark(adata, [*PLAIN, *FEATURED, "knowledge"], splits=splits, response="effect")
    return adata


def read(file: str, column: str, *, library_size: str | None = None) -> AnnData:
    """Read a screen of cells, label, clean and normalise it."""
    adata = anndata.read_h5ad(DATA / file)
    spm.pp.perturbation_labels(adata, column)
    spm.pp.qc_perturbseq(adata)
    spm.pp.normalize(adata, library_size=library_size)
    return adata


def label(adata: AnnData, column: str) -> None:
    """Label a table of effects, which has no control."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        spm.pp.perturbation_labels(adata, column)


def folds(adata: AnnData, n: int) -> list[str]:
    """Divide the genes into folds, a split each."""
    names = [f"fold{number}" for number in range(n)]
    for number, name in enumerate(names):
        spm.pp.split_conditions(adata, "kfold", fold=(number, n), key_added=name)
    return names


def describe(adata: AnnData, *, go: bool = False, expression: bool = True) -> None:
    """Describe the genes: places, hallmarks, STRING, and Reactome and gene ontology sets where the screen is wide."""
    files: dict[str, object] = {
        "position": KNOWLEDGE / "grch38_protein_coding_genes.csv.gz",
        "hallmark": KNOWLEDGE / "hallmark.gmt",
        "string": KNOWLEDGE / "string_v12_high_confidence.csv.gz",
    }
    if go:
        terms = pd.read_csv(KNOWLEDGE / "go_annotations_human.tsv.gz", sep="\t")
        terms = terms[(terms["size"] >= 30) & (terms["size"] <= 300)]
        files["go"] = {row.go_id: str(row.genes).split("|") for row in terms.itertuples()}
        files["reactome"] = KNOWLEDGE / "reactome.gmt"
    if expression:
        files["pathway"] = KNOWLEDGE / "hallmark.gmt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        spm.tl.gene_features(adata, ["identity", *files], files=files)


def epochs(quick: bool) -> dict[str, int]:
    return {"epochs": 10} if quick else {}


def rows_of(name: str, adata: AnnData, *, against: str) -> list[Row]:
    """Return our models beside a baseline, per headline metric."""
    found = adata.uns["benchmark"]
    table = found["comparison"].query("baseline == @against and genes == 'all'")
    table = table[table["model"].isin(judged(found["summary"]))]
    return [
        Row(
            f"{name}: {row.metric}, {row.model} against {against}",
            "gain above 0",
            f"{row.gain:+.4f} ({row.low:+.4f} to {row.high:+.4f}), {row.n} perturbations",
            row.low > 0,
        )
        for row in table.itertuples()
    ]


def judged(summary: pd.DataFrame) -> list[str]:
    """Return which of our models are in a table."""
    return [name for name in ("knowledge", "bimamba") if name in summary.index]


def part(title: str, story: str, adata: AnnData, figure: Path) -> str:
    """Write the figure of a benchmark and return its part of the page."""
    found = adata.uns["benchmark"]
    axes = spm.pl.scores(adata)
    axes[0].get_figure(root=True).savefig(figure, dpi=150)
    plt.close("all")
    table = found["summary"].reindex(columns=list(HEADLINE))
    scaled = found["scaled"].reindex(columns=list(HEADLINE))
    parts = [
        f"## {title}",
        story,
        markdown(table),
        "\n".join(f"- {in_words(found['verdicts'], name)}" for name in judged(table)),
    ]
    if len(scaled):
        parts += [
            "On the scale from the training mean, 0, to a replicate, 1 (blank where a half is too noisy to tell):"
        ]
        parts += [markdown(scaled, digits=2)]
    return "\n\n".join([*parts, f"![Scores of every model]({figure.name})"])


def markdown(table: pd.DataFrame, *, digits: int = 3) -> str:
    """Return a table of numbers, the index first."""
    head = "| model | " + " | ".join(map(str, table.columns)) + " |\n|---|" + "---:|" * table.shape[1]
    lines = [
        f"| {name} | " + " | ".join("" if np.isnan(one) else f"{one:.{digits}g}" for one in row) + " |"
        for name, row in zip(table.index, table.to_numpy(float))
    ]
    return "\n".join([head, *lines])


STORIES: dict[str, tuple[str, str, str, Callable[[bool], AnnData]]] = {
    "norman": (
        "Norman 2019: doubles of which both singles were seen",
        "K562, CRISPRa, 250 genes that vary. Five doubles have both singles; with five nothing can be said of who "
        "beats whom, so the table tells sizes only. Half of the 100 control cells are the truth's, in five ways. With "
        "fewer than 24 single genes no network is trained beside the core: the default predictor is the core.",
        "additive",
        norman,
    ),
    "papalexi": (
        "Papalexi 2021: genes never perturbed in training",
        "THP-1, CRISPR knock-out, 299 genes, 25 perturbed genes in five folds. Most of the effects are weak: the other "
        "half of the cells itself says little of them. The default predictor is the core here as well.",
        "mean",
        papalexi,
    ),
    "morphic": (
        "MorPhiC: bulk knock-outs, a table of fold changes",
        "137 contrasts of 54 genes in several models and days, averaged per gene; no cells, so no ceiling. The network "
        "was not trained here: at this length a training takes hours on a CPU.",
        "mean",
        morphic,
    ),
}


def main() -> None:
    """Run every data set, print, and write what was asked for."""
    given = options(__doc__, quick="few epochs, two folds")
    if not DATA.is_dir():
        print(f"skipped: no data at {FOLDER}; set SPM_DATA to the folder that holds data/ and knowledge/")
        return
    rows, parts = [], []
    for name, (title, story, against, run) in STORIES.items():
        adata = run(given.quick)
        print(f"\n{title}\n{adata.uns['benchmark']['summary'].reindex(columns=list(HEADLINE)).round(4).to_string()}")
        rows += rows_of(name, adata, against=against)
        if given.page:
            parts.append(part(title, story, adata, given.page.with_name(f"accuracy_{name}.png")))
        more = covered(name, adata)
        if name == "norman":
            more += [one_double_out(adata), one_single_out(adata), *(few_cells(adata, n) for n in (10, 25, 50))]
        rows += more
        parts.append("\n".join(f"- {row.name.removeprefix(f'{name}: ')}: {row.measured}" for row in more))
    report(rows, given, page=lambda: "\n\n".join([machine(), *parts]) + "\n")


if __name__ == "__main__":
    main()
