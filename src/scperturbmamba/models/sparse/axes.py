"""What features say of readout and of perturbed genes, made once, so that all folds read the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd

from scperturbmamba.models.sparse.likeness import Likeness
from scperturbmamba.models.sparse.vectors import unit_rows

Rows = NDArray[np.float32]

_GENE_WIDTH = 200
_DIRECTIONS = 12


@dataclass(frozen=True)
class Axes:
    """Coordinates of genes from all blocks together.

    Attributes
    ----------
    genes
        (readout genes × numbers): their vectors, each of length 1.
    directions
        (all numbers × directions): along which the training perturbations differ most.
    """

    genes: Rows
    directions: Rows

    @classmethod
    def of(cls, likeness: Likeness, perturbed: Sequence[str], genes: Sequence[str]) -> Self:
        """Reduce the vectors of readout genes, and find the directions of perturbed ones."""
        rows = likeness.together(genes)
        vectors = unit_rows(rows @ _leading(rows, _GENE_WIDTH)).astype(np.float32)
        return cls(vectors, _leading(likeness.together(perturbed), _DIRECTIONS))


def _leading(rows: Rows, most: int) -> Rows:
    """Return the leading right singular vectors (numbers × at most ``most``); few numbers stay as they are."""
    if rows.shape[1] <= most:
        return np.eye(rows.shape[1], dtype=np.float32)
    return np.asarray(randomized_svd(rows, min(most, len(rows)), random_state=0)[2].T, np.float32)
