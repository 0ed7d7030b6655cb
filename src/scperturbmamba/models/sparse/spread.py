"""How far effects of a table with gaps may be off, from perturbations left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.sparse.labels import Base, Labels
from scperturbmamba.models.uncertainty import multiples_of

_DRAW = 10  # entries that the error common to all genes is worth


@dataclass(frozen=True)
class Spread:
    """Errors of what is said of perturbations that were not measured.

    Attributes
    ----------
    sd
        (genes,): root mean square error, drawn to what all genes have in common, scale of the table.
    multiples
        (levels,): how many of them hold that share of the errors.
    """

    sd: NDArray[np.float32]
    multiples: NDArray[np.float32]

    @classmethod
    def of(cls, labels: Labels, off: NDArray[np.floating]) -> Self:
        """Learn from the errors (entries,) at known entries; one perturbation more is to be covered."""
        sd = np.sqrt(labels.mean_per_gene(np.square(off), _DRAW) + 1e-12)
        multiples = multiples_of(np.abs(off) / sd[labels.column], len(np.unique(labels.row)))
        return cls(sd.astype(np.float32), multiples.astype(np.float32))

    @classmethod
    def around(cls, labels: Labels, base: Base) -> Self:
        """Learn how far entries are from the mean of their gene, each told by the others."""
        share = labels.weight / (base.count[labels.column] + _DRAW)
        return cls.of(labels, (labels.value - base.mean[labels.column]) / np.maximum(1 - share, 0.1))
