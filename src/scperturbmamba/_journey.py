"""The journey of the demo: the public calls in their order, on a file or on the toy world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
from anndata import AnnData
from matplotlib import pyplot as plt

from scperturbmamba import _keys, datasets, pl, pp, tl
from scperturbmamba._judging import HEADLINE, is_baseline
from scperturbmamba.tl._comparison import in_words

_FOLD = "fold"
_GUIDE_RULE = r"^(.+)_g\d+$"


@dataclass
class Journey:
    """A screen on its way from raw counts to predictions.

    Attributes
    ----------
    adata
        The screen.
    column
        Column of ``obs`` with the labels.
    library_size
        Column of ``obs`` with UMIs over the full transcriptome, or None.
    files
        Sources of gene features.
    """

    adata: AnnData
    column: str | None
    library_size: str | None
    files: dict[str, object]

    @classmethod
    def read(cls, data: Path | None, *, column: str | None, library_size: str | None) -> Journey:
        """Read a file, or make the toy world and assign its guides."""
        if data is not None:
            return cls(anndata.read_h5ad(data), column, library_size, {})
        adata = datasets.toy()
        pp.assign_guides(adata, _GUIDE_RULE)
        truth = adata.uns["toy"]
        files = {"position": truth["outside"], "pathway": truth["gene_sets"], "sets": truth["gene_sets"]}
        return cls(adata, _keys.GUIDE_TARGET, library_size, files)

    def take_features(self, given: Sequence[str]) -> None:
        """Add gene features named ``NAME=FILE``.

        Raises
        ------
        ValueError
            One is not of that form.
        """
        for one in given:
            name, mark, file = one.partition("=")
            if not (name and mark and file):
                msg = f"a feature is given as NAME=FILE, such as hallmark=h.gmt; found {one!r}."
                raise ValueError(msg)
            self.files[name] = file

    def prepare(self, *, scheme: str = "perturbation", folds: int = 0) -> list[str]:
        """Label, clean, normalise, describe the genes, split (into folds if asked); return the names of the splits."""
        pp.perturbation_labels(self.adata, self.column)
        pp.qc_perturbseq(self.adata, max_targets=2 if self.column == _keys.GUIDE_TARGET else None)
        pp.normalize(self.adata, library_size=self.library_size)
        names = [f"{_FOLD}{number}" for number in range(folds)]
        for number, name in enumerate(names):
            pp.split_conditions(self.adata, "kfold", fold=(number, folds), key_added=name)
        if not names:
            pp.split_conditions(self.adata, scheme)
        sources = dict.fromkeys(["identity", "position", "pathway", *self.files])
        tl.gene_features(self.adata, list(sources), files=self.files)
        return names or [_keys.SPLIT]

    def train(self, *, head: str, epochs: int) -> None:
        """Train the predictor: core and network."""
        tl.train_predictor(self.adata, net={"head": head}, train={"epochs": epochs})

    def predict(self) -> AnnData:
        """Predict the held-out conditions and score them beside the baselines."""
        obs = self.adata.obs
        held_out = obs.loc[(obs[_keys.SPLIT] == _keys.TEST) & ~obs[_keys.IS_CONTROL], _keys.PERTURBATION]
        predicted = tl.predict(self.adata, sorted(held_out.unique()))
        tl.evaluate(predicted, self.adata)
        return predicted

    def write(self, predicted: AnnData, folder: Path) -> None:
        """Write the predictions and the figures."""
        folder.mkdir(parents=True, exist_ok=True)
        predicted.write_h5ad(folder / "predicted.h5ad")
        best = str(predicted.obs["pearson_delta"].idxmax())
        measured = pp.pseudobulk(self.adata)
        figures = {
            "loss_curves": pl.loss_curves(self.adata)[0],
            "effect": pl.effect(predicted, best, measured=measured),
            "scores": pl.scores(predicted)[0],
            "qc": pl.qc(self.adata).flat[0],
        }
        for name, ax in figures.items():
            figure = ax.get_figure(root=True)
            figure.savefig(folder / f"{name}.png", dpi=150)
            plt.close(figure)

    def benchmark(
        self, models: list[str] | None, splits: list[str], out: Path, *, seeds: int, epochs: int, head: str
    ) -> str:
        """Judge models on splits of the screen, write the report, and return the table and the verdicts."""
        net, train = {"head": head}, {"epochs": epochs}
        tl.benchmark(self.adata, models, splits=splits, seeds=range(seeds), net=net, train=train, folder=out)
        return judged(self.adata.uns[_keys.BENCHMARK])

    def verdict(self, predicted: AnnData) -> str:
        """Return what was switched on, the table of scores, and in words whether the predictor earned its place."""
        words = self.adata.uns[_keys.PREDICTOR]["report"]["words"]
        return "\n".join([*words, judged(predicted.uns[_keys.EVALUATION])])


def judged(found: Mapping[str, Any]) -> str:
    """Return the headline scores, and who beats whom in words."""
    table = found["summary"].reindex(columns=list(HEADLINE))
    models = dict.fromkeys(found["verdicts"]["model"])
    judged_ones = [name for name in models if not is_baseline(name)] or list(models)
    words = [in_words(found["verdicts"], name) for name in judged_ones]
    alarms = found["collapse"].query("alarm")["model"]
    collapsed = [name for name in alarms if not is_baseline(name)]
    words += [f"{name} predicts nearly the same for every perturbation" for name in collapsed]
    n = len(found["conditions"])
    return f"{n} held-out conditions, averages:\n{table.round(3).to_string()}\n\n" + "\n".join(words)
