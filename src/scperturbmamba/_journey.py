"""The journey of the demo: the public calls in their order, on a file or on the toy world."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anndata
from anndata import AnnData
from matplotlib import pyplot as plt

from scperturbmamba import _keys, datasets, pl, pp, tl

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

    def prepare(self) -> None:
        """Label, clean, normalise, split, and describe the genes."""
        pp.perturbation_labels(self.adata, self.column)
        pp.qc_perturbseq(self.adata, max_targets=2 if self.column == _keys.GUIDE_TARGET else None)
        pp.normalize(self.adata, library_size=self.library_size)
        pp.split_conditions(self.adata)
        tl.gene_features(
            self.adata, ["identity", "position", "pathway", *({"sets"} & set(self.files))], files=self.files
        )

    def train(self, *, head: str, epochs: int) -> None:
        """Train the network."""
        tl.train_predictor(self.adata, head=head, train={"epochs": epochs})

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

    def verdict(self, predicted: AnnData) -> str:
        """Return the table of scores, and in words whether the network earned its place."""
        summary = predicted.uns[_keys.EVALUATION]["summary"].rename(index={"predicted": "bimamba"})
        ours, mean = summary.loc["bimamba"], summary.loc["mean"]
        better = [name for name in ("mse", "l2") if ours[name] < mean[name]]
        better += [name for name in ("pearson_delta", "pearson_delta_centred") if ours[name] > mean[name]]
        words = "is better than the training mean on " + ", ".join(better) if better else "does not beat the mean"
        n = predicted.n_obs
        return f"{n} held-out conditions, averages:\n{summary.round(3).to_string()}\n\nThe network {words}."
