"""Masked low-rank factors of perturbations × genes, carried to new perturbations by kernel ridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba.models.sparse.labels import Labels

_RANK, _SWEEPS, _SHRINKAGE = 16, 8, 2.0
_PENALTY = 3.0

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Factors:
    """Factors of the known entries, and the weights that foresee those of a new perturbation.

    Attributes
    ----------
    centre
        (rank,): mean factor of the perturbations.
    weights
        (perturbations × rank): kernel ridge on the factors of the perturbations.
    genes
        (genes × rank).
    """

    centre: Rows
    weights: Rows
    genes: Rows

    @classmethod
    def fit(cls, labels: Labels, residual: Rows, kernel: Rows, rng: np.random.Generator) -> Self:
        """Fit residuals (entries,), given the kernel of the perturbations."""
        rows, genes = masked_factors(labels.matrix(residual * labels.weight), labels.matrix(labels.weight), rng)
        centre = rows.mean(0)
        weights = np.linalg.solve(kernel + _PENALTY * np.eye(len(kernel), dtype=np.float32), rows - centre)
        return cls(centre, weights.astype(np.float32), genes)

    def predict(self, across: Rows) -> Rows:
        """Return what is expected of new perturbations, from their kernel with the known ones (new × known)."""
        known = np.any(across, axis=1, keepdims=True)
        return (across @ self.weights + self.centre * known) @ self.genes.T


def masked_factors(
    product: sp.csr_matrix, weight: sp.csr_matrix, rng: np.random.Generator, *, rank: int = _RANK
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
