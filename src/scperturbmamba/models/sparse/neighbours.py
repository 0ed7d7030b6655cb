"""Weighted averages over alike perturbations, of the entries that are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Rows = NDArray[np.float32]
_DOUBT = 0.3  # weight of no change, as a share of the likeness that a gene of usual cover has


@dataclass(frozen=True)
class Neighbours:
    """Known entries, averaged by the likeness of their perturbations.

    How much is known near a perturbation is no result: which pairs a table lists tells what its makers found.

    Attributes
    ----------
    product, weight
        Known entries times their weights, and the weights (perturbations × genes).
    """

    product: sp.csr_matrix
    weight: sp.csr_matrix

    def doubt(self, kernel: Rows) -> float:
        """Return the likeness that counts for no change, given the kernel of the known perturbations."""
        others = kernel.sum(1) - np.diag(kernel)
        return _DOUBT * float(np.median(others)) * float(self.weight.mean()) + 1e-6

    def average(self, across: Rows, doubt: float) -> Rows:
        """Return averages (new × genes), drawn to 0 where little is known; ``across`` (new × known) is not negative."""
        total = (self.weight.T @ across.T).T
        return np.asarray((self.product.T @ across.T).T / (total + np.float32(doubt)), np.float32)
