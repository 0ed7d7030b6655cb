"""Level one: what each way of reading the known entries says of new perturbations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from scperturbmamba.models.sparse.factors import Factors
from scperturbmamba.models.sparse.labels import Base, Labels
from scperturbmamba.models.sparse.likeness import Likeness, sharpened
from scperturbmamba.models.sparse.neighbours import Neighbours
from scperturbmamba.models.sparse.process import Prior, Process
from scperturbmamba.models.sparse.vectors import unit_rows

Rows = NDArray[np.float32]

_NARROW, _WIDE = 8.0, 4.0  # how much the kernel of all blocks is sharpened
_ALONE = Prior(own=1.0, shared=0.0, strength=0.0, noise=1.5)
_TOGETHER = Prior(own=1.0, shared=0.05, strength=0.002, noise=1.0)
_POWER = 2  # to which the cosines of a single block are raised
_GENE_WIDTH = 200
_SHARED_MEMBERS = 6  # beside the neighbours of each block


@dataclass(frozen=True)
class Evidence:
    """The members of level one, fitted to some perturbations.

    Attributes
    ----------
    names
        Perturbed genes that they know.
    genes
        (readout genes × numbers): their vectors, each of length 1.
    base
        Mean and count per readout gene.
    alone, together
        Gaussian processes without and with what readout genes share.
    factors
        Masked factors.
    neighbours
        Averages over alike perturbations.
    doubts
        (1 + blocks,): likeness that counts for no change, by all blocks together and by each.
    """

    names: tuple[str, ...]
    genes: Rows
    base: Base
    alone: Process
    together: Process
    factors: Factors
    neighbours: Neighbours
    doubts: Rows

    @classmethod
    def fit(cls, labels: Labels, likeness: Likeness, genes: Rows, rng: np.random.Generator) -> Self:
        """Fit all members to the labels, given vectors of the readout genes."""
        rows = likeness.together([part.name for part in labels.parts])
        narrow, wide = sharpened(rows, rows, _NARROW), sharpened(rows, rows, _WIDE)
        residual = _residual(labels, Base.of(labels))
        alone = Process.fit(labels, residual, narrow, genes, _ALONE)
        together = Process.fit(labels, residual, wide, genes, _TOGETHER)
        near = _neighbours(labels, residual)
        blocks = likeness.vectors([part.name for part in labels.parts])
        doubts = np.array([near.doubt(one) for one in (narrow, *(_powered(block, block) for block in blocks))])
        factors = Factors.fit(labels, residual, narrow, rng)
        return cls.of(labels, genes, alone.own, together.own, factors, doubts.astype(np.float32))

    @classmethod
    def of(
        cls,
        labels: Labels,
        genes: Rows,
        alone: sp.csr_matrix,
        together: sp.csr_matrix,
        factors: Factors,
        doubts: Rows,
    ) -> Self:
        """Return the members of which these are the weights."""
        base = Base.of(labels)
        return cls(
            names=tuple(part.name for part in labels.parts),
            genes=genes,
            base=base,
            alone=Process.of(_ALONE, alone, genes),
            together=Process.of(_TOGETHER, together, genes),
            factors=factors,
            neighbours=_neighbours(labels, _residual(labels, base)),
            doubts=doubts,
        )

    def n_scores(self, likeness: Likeness) -> int:
        """Return how many members there are."""
        return _SHARED_MEMBERS + len(likeness.blocks) + (likeness.elsewhere is not None)

    def scores(self, names: Sequence[str], likeness: Likeness) -> dict[str, Rows]:
        """Return what each member expects of new perturbations (new × genes), in spreads of the gene."""
        new, known = likeness.together(names), likeness.together(self.names)
        narrow, wide = sharpened(new, known, _NARROW), sharpened(new, known, _WIDE)
        own, shared, strength = self.together.predict(wide, self.genes)
        found = {
            "process, gene alone": self.alone.predict(narrow, self.genes)[0],
            "process, same gene": own,
            "process, alike genes": shared,
            "process, strength": strength,
            "factors": self.factors.predict(narrow),
            "neighbours": self.neighbours.average(narrow, self.doubts[0]),
        }
        blocks = zip(likeness.blocks, likeness.vectors(names), likeness.vectors(self.names), self.doubts[1:])
        for block, one, other, doubt in blocks:
            found[f"neighbours, {block.label}"] = self.neighbours.average(_powered(one, other), doubt)
        return found


def gene_vectors(likeness: Likeness, genes: Sequence[str]) -> Rows:
    """Return vectors of the readout genes, of all blocks together, reduced and of length 1."""
    rows = likeness.together(genes)
    width = min(_GENE_WIDTH, *(side - 1 for side in rows.shape))
    if 0 < width < rows.shape[1]:
        rows = TruncatedSVD(width, random_state=0).fit_transform(rows)
    return unit_rows(rows).astype(np.float32)


def _residual(labels: Labels, base: Base) -> Rows:
    """Return the known entries minus the mean of their gene, in its spreads."""
    return ((labels.value - base.mean[labels.column]) / base.spread[labels.column]).astype(np.float32)


def _neighbours(labels: Labels, residual: Rows) -> Neighbours:
    return Neighbours(labels.matrix(residual * labels.weight), labels.matrix(labels.weight))


def _powered(one: Rows, other: Rows) -> Rows:
    """Return what is positive of the cosines of unit rows, raised to a power."""
    return np.asarray(np.maximum(one @ other.T, 0) ** _POWER, np.float32)
