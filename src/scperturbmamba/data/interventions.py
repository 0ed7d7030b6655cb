"""Copies of a screen in which one thing was changed, to see what a computation depends on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.held_out import HeldOut


def with_permuted_labels(adata: AnnData, held: HeldOut, rng: np.random.Generator) -> tuple[AnnData, NDArray[np.int64]]:
    """Return a copy whose labels are permuted over the cells of each side and context, and the source of each label.

    With the labels go all columns of ``obs`` that a label decides or that decide the label, and the guide counts.
    """
    source = np.arange(adata.n_obs)
    for _, cells in pd.Series(source).groupby([held.side, held.level]):
        if held.side[cells.iloc[0]]:
            source[cells] = rng.permutation(cells)
    changed = adata.copy()
    for column in _tied_columns(adata.obs, held.label):
        changed.obs[column] = adata.obs[column].iloc[source].set_axis(adata.obs_names)
    if _keys.GUIDE_COUNTS in adata.obsm:
        changed.obsm[_keys.GUIDE_COUNTS] = _rows(adata.obsm[_keys.GUIDE_COUNTS], source, adata)
    return changed, source


def with_foreign_test_cells(adata: AnnData, held: HeldOut, rng: np.random.Generator) -> AnnData:
    """Return a copy in which treated test cells have the expression of training control cells drawn at random.

    Replaced are their rows in ``X``, ``raw``, ``layers``, numeric ``obsm`` (guide counts aside), and numeric columns
    of ``obs`` that the label does not decide.

    Raises
    ------
    ValueError
        There are no cells on the training side to take expression from.
    """
    donors = np.flatnonzero(held.control & held.train)
    if not len(donors):
        donors = np.flatnonzero(held.train)
    source = np.arange(adata.n_obs)
    replaced = np.flatnonzero(held.treated & held.test)
    source[replaced] = rng.choice(donors, len(replaced))
    changed = adata.copy()
    changed.X = adata.X[source]
    for name in [name for name in adata.layers if name is not None]:
        changed.layers[name] = adata.layers[name][source]
    for name, values in adata.obsm.items():
        if name != _keys.GUIDE_COUNTS and is_numeric(values):
            changed.obsm[name] = _rows(values, source, adata)
    if adata.raw is not None:
        changed.raw = AnnData(adata.raw.X[source], obs=adata.obs[[]], var=adata.raw.var)
    numeric = adata.obs.select_dtypes("number").columns.difference(_tied_columns(adata.obs, held.label))
    for column in numeric:
        changed.obs[column] = adata.obs[column].to_numpy()[source]
    return changed


def is_numeric(values: Any) -> bool:
    """Tell whether an entry of ``obsm`` holds two dimensions of numbers only."""
    if isinstance(values, pd.DataFrame):
        return all(pd.api.types.is_numeric_dtype(one) for one in values.dtypes)
    return getattr(values, "ndim", 0) == 2 and np.issubdtype(values.dtype, np.number)


def _rows(values: Any, source: NDArray[np.int64], adata: AnnData) -> Any:
    if isinstance(values, pd.DataFrame):
        return values.iloc[source].set_axis(adata.obs_names, axis=0)
    return values[source]


def _tied_columns(obs: pd.DataFrame, label: NDArray[Any]) -> list[str]:
    """Return the columns that a label decides, and those that decide the label and take few values."""
    labels = pd.factorize(label)[0]
    tied = []
    for column in obs:
        values = pd.factorize(obs[column])[0]
        n_pairs, n_values = len(np.unique(np.column_stack([labels, values]), axis=0)), len(np.unique(values))
        if n_pairs == len(np.unique(labels)) or (n_pairs == n_values and n_values <= len(obs) / 2):
            tied.append(str(column))
    return tied
