"""Cells that are in a matrix twice."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

MOST_PAIRS: Final = 2000  # looked at
_SAMPLE = 2000  # cells that tell how often a gene has a value
_LARGEST_CHANCE = 1e-6  # of a pair being a coincidence; genes are not independent, hence so small


def twins(
    matrix: Any, first: NDArray[np.bool_], second: NDArray[np.bool_], *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return pairs × 2: each row of ``second`` that equals a row of ``first``, and the first such row.

    Rows that may well be equal by chance, as two cells with a handful of counts are, are left out: the frequencies
    of a row's non-zero values, multiplied over genes and by the number of rows, must be below one in a million.

    Parameters
    ----------
    matrix
        Cells × genes, sparse or dense.
    first, second
        (cells,): the two sides.
    rng
        Draws the cells that tell the frequencies.
    """
    rows = _canonical(matrix)
    place: dict[bytes, int] = {}
    for row in np.flatnonzero(first).tolist():
        place.setdefault(_bytes_of(rows, row), row)
    found = [(place.get(_bytes_of(rows, row), -1), row) for row in np.flatnonzero(second).tolist()]
    pairs = np.array([pair for pair in found if pair[0] >= 0], dtype=np.int64).reshape(-1, 2)[:MOST_PAIRS]
    if not len(pairs):
        return pairs
    n_rows = rows.shape[0]
    sample = np.sort(rng.choice(n_rows, min(_SAMPLE, n_rows), replace=False))
    log_chance = _log_chance(sp.csr_matrix(rows[pairs[:, 1]]), sp.csr_matrix(rows[sample])) + np.log(n_rows)
    return pairs[log_chance < np.log(_LARGEST_CHANCE)]


def _canonical(matrix: Any) -> Any:
    """Return rows whose bytes are equal where their numbers are; what was given is left as it is."""
    if not sp.issparse(matrix):
        return np.ascontiguousarray(matrix)
    rows = matrix.tocsr()
    if rows.has_canonical_format and (rows.data != 0).all():
        return rows
    rows = rows.copy()
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows


def _bytes_of(rows: Any, row: int) -> bytes:
    if not sp.issparse(rows):
        return rows[row].tobytes()
    entries = slice(rows.indptr[row], rows.indptr[row + 1])
    return rows.indices[entries].tobytes() + rows.data[entries].tobytes()


def _log_chance(rows: sp.csr_matrix, sample: sp.csr_matrix) -> NDArray[np.float64]:
    """Return (rows,): log of the product of the frequencies, in the sample, of a row's non-zero values."""
    values = np.unique(np.concatenate([sample.data, rows.data]), return_inverse=True)[1].astype(np.int64)
    genes = np.concatenate([sample.indices, rows.indices]).astype(np.int64)
    key = np.unique(genes * (values.max(initial=0) + 1) + values, return_inverse=True)[1]
    n = np.bincount(key[: sample.nnz], minlength=key.max(initial=0) + 1)[key[sample.nnz :]]
    logs = sp.csr_matrix((np.log(np.maximum(n, 1) / sample.shape[0]), rows.indices, rows.indptr), shape=rows.shape)
    return np.asarray(logs.sum(axis=1)).ravel()
