"""The rules of an upload to the Virtual Cell Challenge: which rows, which genes, which numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import did_you_mean
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.control_names import is_control_name
from scperturbmamba.data.profiles import NO_CONTEXT

MOST_COUNTS = 1_000_000  # of one cell
MOST_ENTRIES = 4_750_000_000  # stored in the file
TARGET, CONTEXT = "target_gene", "context"


def cell_table(predicted: AnnData, context: str | None) -> pd.DataFrame:
    """Return ``target_gene``, ``context``, ``is_gene`` and ``place`` of every cell that is no control."""
    labels = predicted.obs[_keys.PERTURBATION].astype(str)
    conditions = {label: Condition.parse(label) for label in labels.unique()}
    is_gene = {label: len(one.parts) == 1 and one.parts[0].dose is None for label, one in conditions.items()}
    targets = {label: one.names[0] if is_gene[label] else label for label, one in conditions.items()}
    table = pd.DataFrame({TARGET: labels.map(targets), CONTEXT: _contexts(predicted, context)})
    table = table.assign(is_gene=labels.map(is_gene), place=np.arange(predicted.n_obs))[labels != _keys.CONTROL]
    if not len(table):
        msg = "expected cells of perturbations; found none but controls. Predict some: `spm.tl.predict`."
        raise ValueError(msg)
    return table


def _contexts(predicted: AnnData, context: str | None) -> NDArray[np.object_]:
    found = predicted.obs[CONTEXT].astype(str) if CONTEXT in predicted.obs else pd.Series([NO_CONTEXT])
    levels = list(found.unique())
    if context is None and levels == [NO_CONTEXT]:
        msg = 'the upload names the context of every cell, and the predictor knows none. Pass it: `context="K562"`.'
        raise ValueError(msg)
    if context is not None and len(levels) > 1:
        msg = (
            f"`context={context!r}` names one context, and `predicted` holds {levels}. Leave `context` out, or pass "
            f'the cells of one: `predicted[predicted.obs["context"] == {levels[0]!r}]`.'
        )
        raise ValueError(msg)
    return np.full(predicted.n_obs, context, dtype=object) if context is not None else found.to_numpy(dtype=object)


def chosen_cells(cells: pd.DataFrame, wanted: Sequence[str], n_cells: int) -> pd.DataFrame:
    """Return the cells of the perturbations asked for, in that order in every context, or say what is missing."""
    controls = [name for name in wanted if is_control_name(name)]
    if controls:
        msg = f"an upload holds no control cells; `perturbations` names {controls}. Leave them out of the list."
        raise ValueError(msg)
    others = sorted(set(wanted) & set(cells.loc[~cells["is_gene"].astype(bool), TARGET]))
    if others:
        msg = f"the challenge takes perturbations of one gene; found {others[:3]}. Leave them out: `perturbations=`."
        raise ValueError(msg)
    there = set(cells[TARGET])
    missing = [name for name in wanted if name not in there]
    if missing:
        hint = did_you_mean(missing[0], sorted(there))
        msg = f"{len(missing)} perturbations asked for are not predicted, such as {missing[:3]}.{hint}"
        raise ValueError(msg)
    contexts = list(cells[CONTEXT].unique())
    order = pd.MultiIndex.from_product([contexts, wanted])
    place = order.get_indexer(pd.MultiIndex.from_frame(cells[[CONTEXT, TARGET]]))
    sizes = np.bincount(place[place >= 0], minlength=len(order))
    if (sizes != n_cells).any():
        level, name = order[int(np.argmax(sizes != n_cells))]
        msg = (
            f"expected exactly {n_cells} cells of each perturbation in each context; found "
            f"{sizes[sizes != n_cells][0]} of {name!r} in {level!r}. Draw them: `tl.predict(..., n_cells={n_cells})`."
        )
        raise ValueError(msg)
    return cells.iloc[np.argsort(place, kind="stable")[(place < 0).sum() :]]


def chosen_genes(predicted: AnnData, genes: Sequence[str] | None) -> NDArray[np.int64]:
    """Return the places of the genes to upload, in that order."""
    if not predicted.var_names.is_unique:
        msg = "`predicted.var_names` must be unique. Call `predicted.var_names_make_unique()`."
        raise ValueError(msg)
    if genes is None:
        return np.arange(predicted.n_vars)
    places = predicted.var_names.get_indexer(pd.Index(genes))
    missing = [gene for gene, place in zip(genes, places) if place < 0]
    if missing:
        msg = (
            f"{len(missing)} of the {len(genes)} genes to upload are not predicted, such as {missing[:3]}. Train on a "
            "screen that measured them, under these names."
        )
        raise ValueError(msg)
    return places.astype(np.int64)


def as_counts(predicted: AnnData, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> sp.csr_matrix:
    """Return the cells and genes chosen, zeros not stored, if they are within the limits."""
    counts = sp.csr_matrix(predicted.X[rows][:, columns], dtype=np.float32)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    if total.max(initial=0) > MOST_COUNTS:
        cell = predicted.obs_names[rows[int(total.argmax())]]
        msg = f"a cell may hold {MOST_COUNTS:,} counts; found {total.max():,.0f} in {cell!r}. Leave that cell out."
        raise ValueError(msg)
    if counts.nnz > MOST_ENTRIES:
        msg = f"an upload may store {MOST_ENTRIES:,} entries; found {counts.nnz:,}. Ask for fewer genes."
        raise ValueError(msg)
    return counts
