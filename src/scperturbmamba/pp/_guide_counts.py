"""Find the guide counts of a screen, check them, and tabulate what was called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_key
from scperturbmamba.data.counts import find_counts
from scperturbmamba.pp._guide_calls import GuideCalls

_NAMES = "guide_names"


def find_guide_counts(adata: AnnData, guides: AnnData | None) -> tuple[sp.csr_matrix, list[str], str]:
    """Return cells × guides as CSR, the names of the guides, and where they were found."""
    if guides is not None:
        if not (adata.obs_names.is_unique and guides.obs_names.is_unique):
            msg = "cell names must be unique to match `guides` with `adata`. Call `obs_names_make_unique()` on both."
            raise ValueError(msg)
        missing = adata.obs_names.difference(guides.obs_names)
        if len(missing):
            msg = (
                f"`guides` must hold every cell of `adata`; {len(missing)} of {adata.n_obs} are missing, such as "
                f"{list(missing[:3])}. Match the names, or subset `adata` to `guides.obs_names`."
            )
            raise KeyError(msg)
        found = find_counts(guides[adata.obs_names])
        return _as_counts(found.matrix), list(map(str, guides.var_names)), f"guides.{found.source}"
    check_key(adata, "obsm", _keys.GUIDE_COUNTS, made_by="adata.obsm['guide_counts'] = guide UMIs, cells × guides")
    table = adata.obsm[_keys.GUIDE_COUNTS]
    source = f"obsm.{_keys.GUIDE_COUNTS}"
    if isinstance(table, pd.DataFrame):
        return _as_counts(table.to_numpy()), list(map(str, table.columns)), source
    check_key(adata, "uns", _NAMES, made_by="adata.uns['guide_names'] = the names of the guides, one per column")
    names = [str(name) for name in np.ravel(adata.uns[_NAMES])]
    if len(names) != table.shape[1]:
        msg = (
            f"`adata.uns['guide_names']` must name the {table.shape[1]} columns of `obsm['guide_counts']`; "
            f"found {len(names)} names."
        )
        raise ValueError(msg)
    return _as_counts(table), names, source


def _as_counts(table: Any) -> sp.csr_matrix:
    counts = sp.csr_matrix(table)
    if not np.issubdtype(counts.dtype, np.number) or np.iscomplexobj(counts.data):
        msg = f"guide counts must be numbers; found the dtype {counts.dtype}."
        raise ValueError(msg)
    data = counts.data
    if not np.isfinite(data).all() or (data < 0).any() or (data != np.rint(data)).any():
        msg = (
            "guide counts must be whole numbers, none negative and none missing; found "
            f"values from {np.min(data):g} to {np.max(data):g}. Give raw UMIs, not normalised ones."
        )
        raise ValueError(msg)
    counts = counts.astype(np.float64)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    if not counts.nnz:
        msg = "expected guide UMIs; every guide count is zero. Check `obsm['guide_counts']`."
        raise ValueError(msg)
    return counts


def guide_table(counts: sp.csr_matrix, calls: GuideCalls, names: list[str], targets: list[str]) -> pd.DataFrame:
    """Return a row per guide: target, threshold, cells that carry it, UMIs in those and in the others."""
    n_carrying = np.asarray(calls.carried.sum(axis=0)).ravel()
    carried = np.asarray(counts.multiply(calls.carried).sum(axis=0)).ravel()
    stray = np.asarray(counts.sum(axis=0)).ravel() - np.asarray(counts.multiply(calls.possible).sum(axis=0)).ravel()
    n_other = counts.shape[0] - np.asarray(calls.possible.sum(axis=0)).ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "target": targets,
            "threshold": calls.thresholds,
            "n_cells": n_carrying.astype(int),
            "mean_umi": carried / n_carrying,
            "ambient_rate": stray / n_other,
        }
    return pd.DataFrame(columns, index=pd.Index(names, dtype=object))


def histogram(counts: sp.csr_matrix, calls: GuideCalls) -> pd.DataFrame:
    """Return how many non-zero counts there are of each size, and how many of them were called."""
    umi, n = np.unique(counts.data, return_counts=True)
    called = counts.multiply(calls.carried).tocsr()
    values, n_called = np.unique(called.data, return_counts=True)
    table = pd.DataFrame({"umi": umi.astype(int), "n": n, "n_called": 0})
    table.loc[table["umi"].isin(values.astype(int)), "n_called"] = n_called
    return table.set_index(table["umi"].astype(str).rename(None))
