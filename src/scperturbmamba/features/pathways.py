"""Pathway vectors of genes: the decoder rows of an autoencoder of control cells, with or without gene sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from scperturbmamba.engine.autoencoder import AutoencoderFit, Mode, explained, fit_autoencoder
from scperturbmamba.features.gene_sets import membership
from scperturbmamba.features.names import resolve_genes
from scperturbmamba.features.tables import KNOWN, safe_columns, with_known

Aliases = Mapping[str, Sequence[str]]

_MIN_CELLS = 3  # a gene seen in fewer control cells has no vector of its own
_CLIP = 10.0  # standard deviations, as in scanpy's scaling
_PENALTIES = np.logspace(-1, 4, 11)


@dataclass(frozen=True)
class Pathways:
    """A fitted autoencoder and the vectors that its decoder gives to genes.

    Attributes
    ----------
    vectors
        Genes that vary in the controls × pathways; each column has a root mean square of 1.
    fit
        The autoencoder and how well it reconstructs held-out cells.
    mean, scale
        Of each gene of ``vectors``: what is subtracted, and by what it is then divided.
    predicted
        Vectors of genes of the sets that the controls do not hold, predicted by ridge from their membership.
    """

    vectors: pd.DataFrame
    fit: AutoencoderFit
    mean: pd.Series
    scale: pd.Series
    predicted: pd.DataFrame

    def standardise(self, expression: NDArray[np.floating], genes: Sequence[str]) -> NDArray[np.float64]:
        """Return cells × genes of ``vectors`` in the units that the autoencoder works in."""
        columns = pd.Index(list(genes)).get_indexer(self.mean.index)
        scaled = (np.asarray(expression, dtype=np.float64)[:, columns] - self.mean.to_numpy()) / self.scale.to_numpy()
        return scaled.clip(-_CLIP, _CLIP)

    def explained(self, expression: NDArray[np.floating], genes: Sequence[str]) -> float:
        """Return the share of the squares of standardised cells that is reconstructed."""
        return explained(self.fit.model, torch.from_numpy(self.standardise(expression, genes)))

    def table(self, genes: Sequence[str], *, aliases: Aliases | None = None) -> pd.DataFrame:
        """Return genes × pathways (float32) and ``known``: learned, else predicted from sets, else zero."""
        every = pd.concat([self.vectors, self.predicted])
        resolved, _ = resolve_genes(genes, every.index, aliases=aliases)
        return with_known(genes, every.to_numpy(), list(every.columns), every.index.get_indexer(resolved))


def fit_pathways(
    expression: NDArray[np.floating],
    genes: Sequence[str],
    *,
    width: int | None = None,
    sets: Mapping[str, Sequence[str]] | None = None,
    mode: Mode = "data",
    aliases: Aliases | None = None,
    random_state: int = 0,
    on_epoch: Callable[[], object] | None = None,
) -> Pathways:
    """Learn a vector per gene from control cells, and predict one for the genes that only the sets know.

    Parameters
    ----------
    expression
        Control cells × genes, log-normalised.
    genes
        Their names.
    width
        Numbers per gene in the mode ``"data"``; the default is 32, or fewer where cells or genes are few. In the
        other modes there is one per gene set that has a member.
    sets
        Set name → genes.
    mode
        ``"data"``, ``"init"`` (the decoder starts as the sets) or ``"mask"`` (only members have a weight).
    aliases
        Other names of genes.
    random_state
        Seed.
    on_epoch
        Called after each pass over the cells.

    Raises
    ------
    ValueError
        Too few genes vary, the width does not fit, or no gene of the sets is measured.
    """
    expression = np.asarray(expression)
    mean, scale = expression.mean(axis=0, dtype=np.float64), expression.std(axis=0, dtype=np.float64)
    varies = (scale > 1e-8) & ((expression != 0).sum(axis=0) >= _MIN_CELLS)
    names = [gene for gene, keep in zip(genes, varies) if keep]
    if len(names) < 2:
        msg = f"{len(names)} genes vary over the {len(expression)} control cells; the pathway features need 2 or more."
        raise ValueError(msg)
    x = ((expression[:, varies] - mean[varies]) / scale[varies]).clip(-_CLIP, _CLIP).astype(np.float32)
    columns, members = _columns(names, sets, mode, _fitting_width(width, mode, x.shape), aliases)
    fit = fit_autoencoder(
        torch.from_numpy(x), width=len(columns), sets=members, mode=mode, seed=random_state, on_epoch=on_epoch
    )
    loadings = fit.model.loadings().detach().numpy().astype(np.float64)
    root_mean_square = np.sqrt(np.square(loadings).mean(axis=0))
    vectors = pd.DataFrame(loadings / np.where(root_mean_square > 0, root_mean_square, 1), names, columns)
    predicted = predict_vectors(vectors, sets, aliases=aliases) if sets else vectors.iloc[:0]
    return Pathways(vectors, fit, pd.Series(mean[varies], names), pd.Series(scale[varies], names), predicted)


def predict_vectors(
    vectors: pd.DataFrame, sets: Mapping[str, Sequence[str]], *, aliases: Aliases | None = None
) -> pd.DataFrame:
    """Return a vector for each gene of the sets that has none, by ridge regression from set membership."""
    listed = sorted({gene for members in sets.values() for gene in members})
    owned, _ = resolve_genes(listed, vectors.index, aliases=aliases)
    others = [gene for gene, own in zip(listed, owned) if own is None]
    inputs = membership([*vectors.index, *others], sets, aliases=aliases).drop(columns=KNOWN).to_numpy(np.float64)
    ridge = RidgeCV(alphas=_PENALTIES).fit(inputs[: len(vectors)], vectors.to_numpy())
    values = ridge.predict(inputs[len(vectors) :]) if others else np.zeros((0, vectors.shape[1]))
    return pd.DataFrame(values.reshape(len(others), -1), others, vectors.columns)


def _fitting_width(width: int | None, mode: Mode, shape: tuple[int, int]) -> int:
    most = min(shape[0] - 1, shape[1])
    if width is not None and mode != "data":
        msg = f"with gene sets in the mode {mode!r} the pathway width is the number of sets; give no width."
        raise ValueError(msg)
    if width is not None and width > most:
        msg = f"the pathway width must be at most {most} for {shape[0]} control cells and {shape[1]} varying genes; "
        raise ValueError(msg + f"found {width}.")
    return min(32, most) if width is None else width


def _columns(
    names: list[str], sets: Mapping[str, Sequence[str]] | None, mode: Mode, width: int, aliases: Aliases | None
) -> tuple[list[str], torch.Tensor | None]:
    """Return the names of the pathways, and genes × sets for the modes that use sets."""
    if mode == "data":
        return [f"pathway_{number}" for number in range(width)], None
    if not sets:
        msg = f'the pathway mode {mode!r} needs gene sets; give `files={{"pathway": ...}}`, a GMT or a mapping.'
        raise ValueError(msg)
    table = membership(names, sets, aliases=aliases).drop(columns=KNOWN)
    table = table.loc[:, table.sum(axis=0) > 0]
    if table.shape[1] == 0:
        msg = f"none of the gene sets has a varying gene; measured are {names[:3]}, the sets hold other names."
        raise ValueError(msg)
    return safe_columns(table.columns), torch.from_numpy(table.to_numpy(np.float64))
