"""The linear model of Ahlmann-Eltze et al. (2025): gene embeddings on both sides of a small matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.part_effects import in_every_context


@dataclass
class Bilinear:
    """Y ≈ G W Pᵀ + b, with G the principal components of training effects and P its rows of the perturbed genes.

    Y (genes × conditions) are effects, b their mean; W = (GᵀG + λ)⁻¹ Gᵀ (Y − b) P (PᵀP + λ)⁻¹. A perturbed gene that is
    not measured has no row in P and so the mean effect; of a combination the rows are summed.

    Attributes
    ----------
    rank, penalty
        K and λ, as published.
    """

    rank: int = 10
    penalty: float = 0.1

    def fit(self, data: Bundle) -> Self:
        """Solve for the matrix of each context."""
        self.place = {gene: row for row, gene in enumerate(data.genes)}
        self.models = []
        for seen in in_every_context(data):
            parts = [part for part in sorted(seen.alone) if part.name in self.place]
            rest = np.array([seen.alone[part] - seen.mean for part in parts], np.float64).reshape(-1, len(seen.mean)).T
            if not parts:
                self.models.append((seen.mean, np.zeros((len(self.place), 1)), np.zeros((1, 1))))
                continue
            left, size, _ = np.linalg.svd(rest, full_matrices=False)
            gene = (left * size)[:, : self.rank]
            perturbed = gene[[self.place[part.name] for part in parts]]
            small = _solve(gene, gene.T @ rest @ perturbed, self.penalty)
            matrix = _solve(perturbed, small.T, self.penalty).T
            self.models.append((seen.mean, gene, matrix))
        return self

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return effects (conditions × genes); the control does nothing."""
        mean, gene, matrix = self.models[context]
        result = np.zeros((len(conditions), len(mean)), np.float32)
        for row, condition in enumerate(conditions):
            if not condition.is_control:
                places = [self.place[part.name] for part in condition.parts if part.name in self.place]
                result[row] = mean + gene @ (matrix @ gene[places].sum(0))
        return result


def _solve(a: NDArray[np.float64], right: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    """Return (aᵀa + λ)⁻¹ right."""
    return np.asarray(np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), right), np.float64)
