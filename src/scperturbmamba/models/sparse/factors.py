"""Low-rank factors of a matrix of which only some entries are known."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

_SWEEPS, _SHRINKAGE = 8, 2.0

Rows = NDArray[np.float32]


def masked_factors(
    product: sp.csr_matrix, weight: sp.csr_matrix, rng: np.random.Generator, *, rank: int
) -> tuple[Rows, Rows]:
    """Factorise a matrix of which some entries are known, by alternating ridge regressions.

    Parameters
    ----------
    product
        Known entries times their weights (rows × columns).
    weight
        Weights, 0 where nothing is known.
    """
    rank = min(rank, *product.shape)
    left, right = (rng.normal(0, 0.1, (side, rank)).astype(np.float32) for side in product.shape)
    sides = (product.tocsr(), weight.tocsr()), (product.T.tocsr(), weight.T.tocsr())
    for _ in range(_SWEEPS):
        left = _ridge(*sides[0], right)
        right = _ridge(*sides[1], left)
    return left, right


def _ridge(product: sp.csr_matrix, weight: sp.csr_matrix, other: Rows) -> Rows:
    rank = other.shape[1]
    squares = (other[:, :, None] * other[:, None, :]).reshape(len(other), -1)
    gram = (weight @ squares).reshape(-1, rank, rank) + _SHRINKAGE * np.eye(rank, dtype=np.float32)
    return np.asarray(np.linalg.solve(gram, (product @ other)[..., None])[..., 0], np.float32)
