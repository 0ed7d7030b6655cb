"""Level one: what each way of reading the known entries says of new perturbations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba.models.sparse.axes import Axes
from scperturbmamba.models.sparse.factors import masked_factors
from scperturbmamba.models.sparse.labels import Base, Labels
from scperturbmamba.models.sparse.likeness import Likeness, sharpened
from scperturbmamba.models.sparse.neighbours import Neighbours
from scperturbmamba.models.sparse.process import Prior, Process
from scperturbmamba.models.sparse.vectors import unit_rows

Rows = NDArray[np.float32]

_NARROW, _WIDE = 8.0, 4.0  # how much the kernel of all blocks is sharpened
_DESCRIBED = Prior(own=1.0, shared=0.05, strength=0.002, noise=1.0)
_RESPONDING = Prior(own=1.0, shared=0.06, strength=0.005, noise=1.0)
_RANK = 32  # of the factors that tell how a gene responds
_POWER = 2  # to which the cosines of a single block are raised
_MEMBERS = (  # beside the neighbours of each block
    "process, same gene",
    "process, alike genes",
    "process, strength",
    "process, genes that respond alike",
    "neighbours",
)


@dataclass(frozen=True)
class Evidence:
    """The members of level one, fitted to some perturbations.

    Attributes
    ----------
    names
        Perturbed genes that they know.
    axes
        Coordinates of genes from their features.
    responses
        (readout genes × numbers): how each responds to these perturbations, of length 1; zero where nothing is known.
    base
        Mean and count per readout gene.
    described, responding
        Gaussian processes in which readout genes are alike by their features, and by their responses.
    neighbours
        Averages over alike perturbations.
    doubts
        (1 + blocks,): likeness that counts for no change, by all blocks together and by each.
    """

    names: tuple[str, ...]
    axes: Axes
    responses: Rows
    base: Base
    described: Process
    responding: Process
    neighbours: Neighbours
    doubts: Rows

    @classmethod
    def fit(cls, labels: Labels, likeness: Likeness, axes: Axes, rng: np.random.Generator) -> Self:
        """Fit all members to the labels."""
        names = [part.name for part in labels.parts]
        rows = likeness.together(names)
        narrow, wide = sharpened(rows, rows, _NARROW), sharpened(rows, rows, _WIDE)
        residual = _residual(labels, Base.of(labels))
        near = _neighbours(labels, residual)
        responses = unit_rows(masked_factors(near.product, near.weight, rng, rank=_RANK)[1]).astype(np.float32)
        described = Process.fit(labels, residual, wide, axes.genes, _DESCRIBED)
        responding = Process.fit(labels, residual, wide, responses, _RESPONDING)
        kernels = (narrow, *(_powered(block, block) for block in likeness.vectors(names)))
        doubts = np.array([near.doubt(one) for one in kernels], np.float32)
        return cls.of(labels, axes, responses, described.own, responding.own, doubts)

    @classmethod
    def of(
        cls,
        labels: Labels,
        axes: Axes,
        responses: Rows,
        described: sp.csr_matrix,
        responding: sp.csr_matrix,
        doubts: Rows,
    ) -> Self:
        """Return the members of which these are the weights."""
        base = Base.of(labels)
        return cls(
            names=tuple(part.name for part in labels.parts),
            axes=axes,
            responses=responses,
            base=base,
            described=Process.of(_DESCRIBED, described, axes.genes),
            responding=Process.of(_RESPONDING, responding, responses),
            neighbours=_neighbours(labels, _residual(labels, base)),
            doubts=doubts,
        )

    def n_scores(self, likeness: Likeness) -> int:
        """Return how many members there are."""
        return len(_MEMBERS) + len(likeness.blocks) + (likeness.elsewhere is not None)

    def scores(self, names: Sequence[str], likeness: Likeness) -> dict[str, Rows]:
        """Return what each member expects of new perturbations (new × genes), in spreads of the gene."""
        new, known = likeness.together(names), likeness.together(self.names)
        narrow, wide = sharpened(new, known, _NARROW), sharpened(new, known, _WIDE)
        shared = (
            *self.described.predict(wide, self.axes.genes),
            self.responding.alike(wide, self.responses),
            self.neighbours.average(narrow, self.doubts[0]),
        )
        found = dict(zip(_MEMBERS, shared, strict=True))
        blocks = zip(likeness.blocks, likeness.vectors(names), likeness.vectors(self.names), self.doubts[1:])
        for block, one, other, doubt in blocks:
            found[f"neighbours, {block.label}"] = self.neighbours.average(_powered(one, other), doubt)
        return found


def _residual(labels: Labels, base: Base) -> Rows:
    """Return the known entries minus the mean of their gene, in its spreads."""
    return ((labels.value - base.mean[labels.column]) / base.spread[labels.column]).astype(np.float32)


def _neighbours(labels: Labels, residual: Rows) -> Neighbours:
    return Neighbours(labels.matrix(residual * labels.weight), labels.matrix(labels.weight))


def _powered(one: Rows, other: Rows) -> Rows:
    """Return what is positive of the cosines of unit rows, raised to a power."""
    return np.asarray(np.maximum(one @ other.T, 0) ** _POWER, np.float32)
