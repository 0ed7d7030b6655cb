"""Expression without some genes: their columns go, and what is left is normalised by what is left of the library."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.bundle_cells import cell_sizes
from scperturbmamba.data.counts import find_counts

Matrix = NDArray[np.float32]
Columns = NDArray[np.bool_]
_TARGET_SUM = 1e4


def expression_without(adata: AnnData, hidden: Columns, kept: Columns) -> Matrix:
    """Return log-normalised expression (cells × kept genes) as if the hidden genes had never been sequenced.

    Where raw counts are at hand, those of the hidden genes are taken from the library of each cell. Elsewhere, and for
    profiles (``obs["n_cells"]``), whose mean log has no counts, expression is raised by the share that the hidden genes
    had of the total.
    """
    if not hidden.any():
        return _dense(adata.X[:, np.flatnonzero(kept)])
    counts = None if _keys.N_CELLS in adata.obs else _counts(adata)
    if counts is None:
        return without_share(_dense(adata.X), hidden, kept, target_sum=_target_sum(adata))
    every = np.ones(adata.n_obs, dtype=bool)
    lost = np.asarray(counts[:, np.flatnonzero(hidden)].sum(axis=1), dtype=np.float64).ravel() / _target_sum(adata)
    size = np.maximum(cell_sizes(adata, every) - lost, 1 / _target_sum(adata))
    some = counts[:, np.flatnonzero(kept)]
    scaled = sp.diags(1 / size) @ some if sp.issparse(some) else some / size[:, None]
    return np.log1p(_dense(scaled))


def without_share(x: Matrix, hidden: Columns, kept: Columns, *, target_sum: float = _TARGET_SUM) -> Matrix:
    """Return log-normalised expression of the kept genes, raised by the share of the hidden ones in the total.

    The total is that of the genes at hand, but not below ``target_sum``: a panel is a part of the transcriptome.
    """
    amount = np.expm1(x.astype(np.float64))
    total = np.maximum(amount.sum(axis=1, keepdims=True), target_sum)
    left = np.maximum(total - amount[:, hidden].sum(axis=1, keepdims=True), 1.0)
    return np.log1p(amount[:, kept] * (total / left)).astype(np.float32)


def _counts(adata: AnnData) -> Any | None:
    try:
        return find_counts(adata).matrix
    except ValueError:
        return None


def _target_sum(adata: AnnData) -> float:
    return float(adata.uns.get(_keys.NORMALIZE, {}).get(_keys.PARAMS, {}).get("target_sum", _TARGET_SUM))


def _dense(matrix: Any) -> Matrix:
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix, dtype=np.float32)
