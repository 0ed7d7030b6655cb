"""Profiles to be ranked, in the form that a trained model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_column
from scperturbmamba.data.hidden_genes import expression_without
from scperturbmamba.data.inverse_data import align, batch_codes
from scperturbmamba.data.words import words_of
from scperturbmamba.tl._inverse_stored import Inverse


@dataclass(frozen=True)
class Queries:
    """Profiles that a model can rank.

    Attributes
    ----------
    x
        (profiles × genes): mean log-normalised expression.
    n_cells
        (profiles,): cells behind each.
    """

    x: NDArray[np.float32]
    n_cells: NDArray[np.int64]


def read_queries(adata: AnnData, trained: Inverse) -> Queries:
    """Return a query per row: the genes of the training, in their order, each batch moved to the training controls.

    Rows are cells, or profiles where ``obs["n_cells"]`` says of how many.

    Raises
    ------
    ValueError
        Genes of the training are missing.
    """
    _check_genes(adata, trained)
    hidden = np.asarray(adata.var_names.isin(trained.hidden), dtype=bool)
    kept = np.asarray(adata.var_names.isin(trained.genes), dtype=bool)
    x = expression_without(adata, hidden, kept)
    order = pd.Index(adata.var_names[kept]).get_indexer(list(trained.genes))
    x = x[:, order]
    if trained.batch is not None and trained.batch in adata.obs and _keys.PERTURBATION in adata.obs:
        control = (words_of(adata.obs[_keys.PERTURBATION]) == _keys.CONTROL).to_numpy()
        x = align(x, batch_codes(adata, trained.batch), control, trained.centre)
    return Queries(x, cells_behind(adata))


def cells_behind(adata: AnnData) -> NDArray[np.int64]:
    """Return (rows,): the cells behind each row, 1 but for profiles."""
    if _keys.N_CELLS not in adata.obs:
        return np.ones(adata.n_obs, np.int64)
    return np.maximum(adata.obs[_keys.N_CELLS].to_numpy(dtype=np.int64), 1)


def group_names(adata: AnnData, groupby: str | Sequence[str]) -> pd.Series:
    """Return the group of each row, levels of several columns joined by " | "; missing where a level is."""
    columns = [groupby] if isinstance(groupby, str) else list(groupby)
    for column in columns:
        check_column(adata, column, argument="groupby")
    known = adata.obs[columns].notna().all(axis=1)
    words = [words_of(adata.obs[column]) for column in columns]
    names = words[0].str.cat(words[1:], sep=" | ") if len(words) > 1 else words[0]
    return names.where(known)


def average(queries: Queries, groups: pd.Series) -> tuple[Queries, list[str]]:
    """Return a query per group, the mean over its cells, and the names of the groups."""
    code, names = pd.factorize(groups, sort=True)
    weight = np.bincount(code[code >= 0], queries.n_cells[code >= 0], minlength=len(names))
    sums = np.zeros((len(names), queries.x.shape[1]))
    np.add.at(sums, code[code >= 0], (queries.x * queries.n_cells[:, None])[code >= 0])
    return Queries((sums / weight[:, None]).astype(np.float32), weight.astype(np.int64)), [str(one) for one in names]


def _check_genes(adata: AnnData, trained: Inverse) -> None:
    missing = sorted(set(trained.genes) - set(map(str, adata.var_names)))
    if missing:
        msg = (
            f"the model was trained on {len(trained.genes)} genes; {len(missing)} of them are not in `adata`, such as "
            f"{missing[:3]}. Bring `adata` to the same gene names, or train again on the genes of both."
        )
        raise ValueError(msg)
