"""Principal components of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.decomposition import PCA

_SMALL = 2000  # genes up to which the covariance is made
_BLOCK = 4096  # cells at a time


@dataclass(frozen=True)
class Components:
    """Directions in which cells vary most.

    Attributes
    ----------
    center
        (genes,): mean.
    loadings
        Genes × components, orthonormal columns.
    """

    center: NDArray[np.float64]
    loadings: NDArray[np.float64]

    def scores(self, matrix: Any) -> NDArray[np.float64]:
        """Return rows × components of any rows × genes, sparse or dense."""
        return np.asarray(matrix @ self.loadings) - self.center @ self.loadings


def principal_components(matrix: Any, n: int) -> Components:
    """Return the first ``n`` components of cells × genes, sparse or dense, or as many as there can be."""
    n = max(1, min(n, min(matrix.shape) - 1))
    if matrix.shape[1] > _SMALL:
        fit = PCA(n, svd_solver="arpack", random_state=0).fit(matrix.astype(np.float64))
        return Components(np.asarray(fit.mean_).ravel(), np.asarray(fit.components_).T)
    center = np.asarray(matrix.mean(axis=0), dtype=np.float64).ravel()
    scatter = np.zeros((len(center), len(center)))
    for start in range(0, matrix.shape[0], _BLOCK):
        block = matrix[start : start + _BLOCK]
        change = np.asarray(block.todense() if sp.issparse(block) else block, dtype=np.float64) - center
        scatter += change.T @ change
    _, loadings = eigh(scatter, subset_by_index=(len(center) - n, len(center) - 1))
    return Components(center, loadings[:, ::-1])
