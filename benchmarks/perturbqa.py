"""PerturbQA, effect calls with gaps: held-out perturbations of K562 and HepG2, changed or not, and up or down.

``python benchmarks/perturbqa.py [--quick] [--json FILE] [--page FILE]``. The files lie in ``$SPM_DATA`` (default:
``../shared`` beside the project). Each model is judged on the published test perturbations and, as one split is noisy,
in five folds over the training perturbations. All settings were chosen in such folds; the test side chose nothing.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from _measure import TOLD, Row, machine, options, peak_mb, report
from accuracy import DATA, FOLDER, KNOWLEDGE, label
from anndata import AnnData
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

import scperturbmamba as spm
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.effect_table import effect_bundle
from scperturbmamba.metrics._auc import areas_per_group
from scperturbmamba.models.base import Model
from scperturbmamba.models.baselines import TrainingMean
from scperturbmamba.models.feature_baselines import Neighbours, Ridge
from scperturbmamba.models.sparse import SparseKnowledge

Scores = dict[str, NDArray[np.float32]]

PUBLISHED = {"k562": {"de": 0.62, "dir": 0.69}, "hepg2": {"de": 0.62, "dir": 0.66}}
TARGETS = {"k562": {"de": 0.73, "dir": 0.86}, "hepg2": {"de": 0.745, "dir": 0.79}}
TRANSFER = {"k562": {"de": 0.75, "dir": 0.88}, "hepg2": {"de": 0.76, "dir": 0.81}}
OTHER = {"k562": "hepg2", "hepg2": "k562"}
WORDS = {"de": "changed or not", "dir": "up or down"}
STACK, CHOSEN = "sparse knowledge, stack", "sparse knowledge"
FOLDS, DRAWS = 5, 200
LINKS = KNOWLEDGE / "string_v12_high_confidence.csv.gz"
NAMES = KNOWLEDGE / "grch38_protein_coding_genes.csv.gz"
CHANNELS = ("coexpression", "experiments")
STORY = (
    "Area under the curve per readout gene over held-out perturbations, averaged over the genes with both labels, and "
    "its standard error over perturbations (bootstrap, 200 draws; it holds no noise of training). A model that says "
    "the same of every perturbation has exactly 0.5. Features are STRING, its channels of coexpression and experiments "
    "as graphs of their own, the Gene Ontology, Reactome, the hallmark sets, and the words of the genes' full names. "
    "Settings and sources were chosen in folds over the training perturbations."
)
TRANSFER_STORY = (
    "The features also hold the other line: most of the held-out perturbations were measured there. This answers "
    "another question, what a known perturbation does in a new line, and is not to be compared with the tables above."
)


@cache
def sources() -> dict[str, Path | pd.DataFrame]:
    """Return all that is known of genes: a file or table per source."""
    links = pd.read_csv(LINKS)
    found: dict[str, Path | pd.DataFrame] = {
        "string": LINKS,
        "go": KNOWLEDGE / "go_annotations_human.tsv.gz",
        "reactome": KNOWLEDGE / "reactome.gmt",
        "hallmark": KNOWLEDGE / "hallmark.gmt",
        "names": words_of_names(),
    }
    for channel in CHANNELS:
        weight = links[[channel, f"{channel}_transferred"]].fillna(0).max(axis=1)
        found[channel] = links.iloc[:, :2].assign(weight=weight)[weight > 0].reset_index(drop=True)
    return found


def words_of_names() -> pd.DataFrame:
    """Return genes × leading directions of the words in their full names and of what their symbols begin with."""
    table = pd.read_csv(NAMES, keep_default_na=False).drop_duplicates("symbol").set_index("symbol")
    text = table["description"].str.replace(r"\[.*", "", regex=True)
    family = table.index.to_series().str.extract("^([A-Z]+)")[0].fillna("")
    words = TfidfVectorizer(min_df=3, token_pattern="[a-z0-9]+").fit_transform(text + " " + family)
    values = TruncatedSVD(100, random_state=0).fit_transform(words)
    return pd.DataFrame(values, table.index, [f"word{number}" for number in range(values.shape[1])])


def read(line: str, kind: str) -> AnnData:
    """Read a table of calls, perturbations × genes, NaN where nothing is known, with its published sides."""
    table = pd.read_csv(DATA / f"perturbqa_{line}_{kind}.csv.gz", keep_default_na=False)
    wide = table.pivot_table(index="pert", columns="gene", values="label", aggfunc="first")
    adata = AnnData(wide.to_numpy(np.float32), obs=pd.DataFrame({"pert": wide.index}, index=wide.index))
    adata.var_names = wide.columns.astype(str)
    label(adata, "pert")
    adata.obs["published"] = table.groupby("pert")["split"].first().reindex(adata.obs_names).to_numpy()
    return adata


def sides(adata: AnnData, folds: int) -> dict[str, list[str]]:
    """Return, per split, the sides of all perturbations; one that takes no part is on none."""
    is_train = (adata.obs["published"] == "train").to_numpy()
    fold = np.full(adata.n_obs, -1)
    fold[is_train] = np.random.default_rng(0).permutation(int(is_train.sum())) % FOLDS
    found = {"published": np.where(is_train, "train", "test")}
    for number in range(folds):
        found[f"fold {number}"] = np.where(fold == number, "test", np.where(fold >= 0, "train", ""))
    return {name: list(side) for name, side in found.items()}


def described(adata: AnnData, other: AnnData | None) -> AnnData:
    """Describe the genes by what is known of them and, for transfer, by the other line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        spm.tl.gene_features(adata, list(sources()), files=sources())
        if other is not None:
            spm.tl.gene_features(adata, ["screen", "screen_response"], reference=other)
    return adata


def judge(adata: AnnData, side: Sequence[str], *, baselines: bool) -> tuple[Scores, AnnData, str]:
    """Return the scores of every model for the held-out perturbations, these, and what the core reports."""
    adata.obs["split"] = pd.Categorical(side, categories=["train", "val", "test"])
    held = adata[adata.obs["split"] == "test"]
    conditions = [Condition.parse(name) for name in held.obs["perturbation"]]
    data = effect_bundle(adata, split="split", context=None, features=None)
    found: Scores = {}
    if baselines:
        models: dict[str, Model] = {"mean": TrainingMean(), "knn": Neighbours(), "ridge": Ridge()}
        found = {name: model.fit(data).predict(conditions) for name, model in models.items()}
    core = SparseKnowledge().fit(data)
    scores = core.scores(conditions)
    return {**found, STACK: scores["stack"], CHOSEN: scores["chosen"]}, held, core.report()[0]


def areas(scores: Scores, held: AnnData) -> pd.DataFrame:
    """Return the area under the curve per gene, averaged (models × draws); the first draw is all perturbations."""
    known = np.isfinite(held.X)
    row, column = np.nonzero(known)
    called = held.X[known]
    rng = np.random.default_rng(0)
    drawn = [np.arange(held.n_obs), *rng.integers(0, held.n_obs, (DRAWS, held.n_obs))]
    found: dict[str, list[float]] = {name: [] for name in scores}
    for some in drawn:
        taken = np.repeat(np.arange(len(row)), np.bincount(some, minlength=held.n_obs)[row])
        for name, one in scores.items():
            per_gene = areas_per_group(column[taken], called[taken], one[known][taken], n_groups=held.n_vars)
            found[name].append(float(np.nanmean(per_gene)))
    return pd.DataFrame(found).T


@dataclass(frozen=True)
class Measured:
    """What was found for one table.

    Attributes
    ----------
    test, folds
        Models × draws of perturbations: the published test side, and the mean over folds of the training side.
    report
        What the core says of itself on the published split.
    seconds, megabytes
        Time of the fit on the published split, baselines included, and the most memory held.
    """

    test: pd.DataFrame
    folds: pd.DataFrame
    report: str
    seconds: float
    megabytes: float


def measure(line: str, kind: str, *, transfer: bool, n_folds: int) -> Measured:
    """Judge every model on the published test perturbations and in folds over the others."""
    adata = described(read(line, kind), read(OTHER[line], kind) if transfer else None)
    parts, words, seconds = {}, "", 0.0
    for name, side in sides(adata, n_folds).items():
        start = time.perf_counter()
        scores, held, told = judge(adata, side, baselines=not transfer)
        seconds, words = (time.perf_counter() - start, told) if name == "published" else (seconds, words)
        parts[name] = areas(scores, held)
        print(line, kind, "transfer" if transfer else "", name, parts[name][0].round(3).to_dict(), told, flush=True)
    inner = [table for name, table in parts.items() if name != "published"]
    return Measured(parts["published"], sum(inner) / len(inner), words, seconds, peak_mb())


def with_error(draws: pd.DataFrame, name: str) -> str:
    """Return the value of a model and its standard error over perturbations, in words.

    The draws themselves lie too high, as a gene with one true entry is either drawn or no longer scored.
    """
    return f"{draws.loc[name, 0]:.3f} ± {draws.loc[name, 1:].std():.3f}"


def rows_of(line: str, kind: str, found: Measured, *, transfer: bool) -> list[Row]:
    """Return what was asked for and what was found."""
    target = (TRANSFER if transfer else TARGETS)[line][kind]
    told = f"{with_error(found.test, CHOSEN)}; cross-validated {with_error(found.folds, CHOSEN)}"
    name = f"PerturbQA {line} {kind}: AUC per gene" + (f", with {OTHER[line]} as a feature" if transfer else "")
    rows = [Row(name, f"{target} or more on the test side", told, bool(found.test.loc[CHOSEN, 0] >= target))]
    if not transfer:
        mean = float(found.test.loc["mean", 0])
        rows.append(Row(f"PerturbQA {line} {kind}: the mean", "0.5", f"{mean:.6f}", mean == 0.5))
        cost = f"{found.seconds:.0f} s, {found.megabytes:.0f} MB"
        rows.append(Row(f"PerturbQA {line} {kind}: one fit and the baselines beside it", TOLD, cost, None))
    return rows


def page(measured: Mapping[tuple[str, str, bool], Measured]) -> str:
    """Return the page: a table for the test side, one for the folds, the transfer, and what the core reports."""
    title = {key: f"{key[0].upper()}, {WORDS[key[1]]}" for key in measured}
    alone = {key: one for key, one in measured.items() if not key[2]}
    moved = {key: one for key, one in measured.items() if key[2]}
    parts = [machine(), STORY]
    for heading, which in (("Published test perturbations", "test"), ("Five folds over the training side", "folds")):
        columns = {title[key]: getattr(one, which) for key, one in alone.items()}
        table = pd.DataFrame(
            {name: {model: with_error(one, model) for model in one.index} for name, one in columns.items()}
        )
        if which == "test":
            table.loc["best published"] = [str(PUBLISHED[key[0]][key[1]]) for key in alone]
        parts += [f"### {heading}", in_words(table)]
    if moved:
        table = pd.DataFrame(
            {
                title[key]: {"test": with_error(one.test, CHOSEN), "folds": with_error(one.folds, CHOSEN)}
                for key, one in moved.items()
            }
        )
        parts += ["### With the other line's screen as a feature", TRANSFER_STORY, in_words(table)]
    told = [f"- {title[key]}{' (transfer)' if key[2] else ''}: {one.report}" for key, one in measured.items()]
    return "\n\n".join([*parts, "### What the core says of itself", "\n".join(told)]) + "\n"


def in_words(table: pd.DataFrame) -> str:
    """Return a table of words, the index first."""
    lines = [
        ["", *table.columns],
        ["---"] * (table.shape[1] + 1),
        *([name, *row] for name, row in zip(table.index, table.to_numpy())),
    ]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def main() -> None:
    """Run every table, print, and write what was asked for."""
    given = options(__doc__, quick="one table, one fold, no transfer")
    if not DATA.is_dir():
        print(f"skipped: no data at {FOLDER}; set SPM_DATA to the folder that holds data/ and knowledge/")
        return
    asked = [(line, kind, transfer) for transfer in (False, True) for line in OTHER for kind in WORDS]
    asked = [("hepg2", "dir", False)] if given.quick else asked
    n_folds = 1 if given.quick else FOLDS
    measured = {key: measure(key[0], key[1], transfer=key[2], n_folds=n_folds) for key in asked}
    rows = [row for key, one in measured.items() for row in rows_of(key[0], key[1], one, transfer=key[2])]
    report(rows, given, page=lambda: page(measured))


if __name__ == "__main__":
    main()
