"""The cells behind a bundle: raw counts and library sizes, for likelihoods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_column, check_finite
from scperturbmamba.data.counts import find_counts

_TARGET_SUM = 1e4


@dataclass(frozen=True)
class Cells:
    """Raw counts of the cells of a bundle, for likelihoods.

    Attributes
    ----------
    counts
        Cells × genes, CSR, whole numbers.
    size
        (cells,): library size over 10,000, so that ``size × rate`` is the expected count.
    row
        (cells,): row of the bundle, or ``-1 - context`` for a control cell.
    """

    counts: sp.csr_matrix
    size: NDArray[np.float32]
    row: NDArray[np.int64]


def read_cells(
    adata: AnnData, modelled: NDArray[np.bool_], row: NDArray[np.int64], control_cell: NDArray[np.int64]
) -> Cells:
    """Read the counts of the cells that are in a row, or are controls."""
    number = np.where(row >= 0, row, -1 - control_cell)
    used = (row >= 0) | (control_cell >= 0)
    counts = sp.csr_matrix(find_counts(adata[used]).matrix[:, np.flatnonzero(modelled)], dtype=np.float32)
    size = cell_sizes(adata, used)
    check_finite(size, what="the library sizes")
    return Cells(counts, size, number[used])


def cell_sizes(adata: AnnData, used: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return library size over the target sum of ``pp.normalize`` for the cells asked for, over all genes at hand."""
    params: dict[str, Any] = adata.uns.get(_keys.NORMALIZE, {}).get(_keys.PARAMS, {})
    column = params.get("library_size")
    if column:
        check_column(adata, column, argument="library_size")
        total = adata.obs[column].to_numpy(np.float64)[used]
    else:
        total = np.asarray(find_counts(adata[used]).matrix.sum(axis=1), dtype=np.float64).ravel()
    return (np.maximum(total, 1.0) / float(params.get("target_sum", _TARGET_SUM))).astype(np.float32)
