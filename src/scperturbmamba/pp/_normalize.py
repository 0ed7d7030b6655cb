"""Keep the raw counts, and put log-normalised expression into X."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_column, check_in_memory, check_params, check_positive, check_unique_genes
from scperturbmamba.data.counts import find_counts
from scperturbmamba.data.views import own


def normalize(
    adata: AnnData,
    *,
    library_size: str | None = None,
    target_sum: float = 1e4,
    layer: str | None = None,
) -> None:
    """Put counts per 10,000, log(1 + x), into ``X`` and keep the raw counts in ``layers["counts"]``.

    Parameters
    ----------
    adata
        Cells × genes with raw counts in ``layers["counts"]``, ``raw.X`` or ``X``, looked for in that order.
    library_size
        Column of ``obs`` with the UMIs of each cell over the *full* transcriptome, for data that hold only a part
        of it: a panel's own total moves with the perturbation. The default is the sum over the genes at hand.
    target_sum
        Counts per cell after scaling.
    layer
        Layer to take the counts from.

    Returns
    -------
    None
        Writes ``X`` (CSR or dense, float32, natural log), ``layers["counts"]`` (raw integers) and
        ``uns["normalize"]["params"]`` with the source of the counts. Running twice changes nothing.

    Raises
    ------
    KeyError
        The column or layer is not there.
    ValueError
        No raw counts are found, a gene name occurs twice, or a library size is not positive.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.normalize(adata)
    >>> adata.uns["normalize"]["params"]["counts_source"]
    'X'
    """
    check_in_memory(adata, function="spm.pp.normalize")
    check_unique_genes(adata)
    check_positive(target_sum, "target_sum")
    counts = find_counts(adata, layer=layer)
    size = _library_size(adata, counts.matrix, library_size)

    scaled = _log_normalised(counts.matrix, size, target_sum)

    params = check_params(
        {"counts_source": counts.source, "library_size": library_size, "target_sum": float(target_sum)}
    )
    own(adata)
    adata.layers[_keys.COUNTS] = counts.matrix.copy()
    adata.X = scaled
    adata.uns[_keys.NORMALIZE] = {_keys.PARAMS: params}


def _library_size(adata: AnnData, counts: Any, column: str | None) -> NDArray[np.float64]:
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    if column is None:
        return total
    check_column(adata, column, argument="library_size")
    size = pd.to_numeric(adata.obs[column], errors="coerce").to_numpy(dtype=np.float64)
    bad = ~(np.isfinite(size) & (size >= total) & ((size > 0) | (total == 0)))
    if bad.any():
        cell = adata.obs_names[np.flatnonzero(bad)[0]]
        msg = (
            f"`obs[{column!r}]` must be at least the sum of the measured counts; {int(bad.sum())} cells have less, "
            f"such as {cell!r}. Give the total over the full transcriptome, in raw UMIs."
        )
        raise ValueError(msg)
    return size


def _log_normalised(counts: Any, size: NDArray[np.float64], target_sum: float) -> Any:
    factor = np.divide(target_sum, size, out=np.zeros_like(size), where=size > 0)
    if sp.issparse(counts):
        scaled = sp.csr_matrix(sp.diags(factor) @ counts, dtype=np.float32)
        np.log1p(scaled.data, out=scaled.data)
        return scaled
    return np.log1p(counts * factor[:, None]).astype(np.float32)
