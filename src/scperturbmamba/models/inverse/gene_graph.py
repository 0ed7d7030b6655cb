"""Which measured genes have to do with each other: by place, by co-expression, by what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.engine.tokens import N_CHROMOSOMES
from scperturbmamba.models.encoding import described_by, standardised
from scperturbmamba.models.inverse.base import InverseData
from scperturbmamba.models.kernels import cosines

_CHROMOSOME, _LOCUS, _POSITION = "chromosome", "locus", "position"
_SELF, _COEXPRESSION = "self", "co-expression"
_CELLS = 5000  # enough to tell which genes go together
_NONE = -np.inf


@dataclass(frozen=True)
class Places:
    """Where the measured genes lie.

    Attributes
    ----------
    chromosome
        (genes,): 0 to 23, or 24 where it is not known.
    locus
        (genes,): start over the length of the chromosome; 0 where it is not known.
    """

    chromosome: NDArray[np.int64]
    locus: NDArray[np.float32]

    @property
    def order(self) -> NDArray[np.int64]:
        """Genes by chromosome and place; unknown ones last, in the order of the screen."""
        return np.lexsort((self.locus, self.chromosome))


@dataclass(frozen=True)
class Edges:
    """Whom each gene listens to.

    Attributes
    ----------
    neighbours
        (genes × most neighbours): places of the genes, itself first; itself again where there are fewer.
    weights
        (genes × most neighbours × kinds): weight of the edge in each kind; zeros are padding.
    kinds
        ``"self"``, ``"position"``, ``"co-expression"``, then the sources of feature tables.
    """

    neighbours: NDArray[np.int64]
    weights: NDArray[np.float32]
    kinds: tuple[str, ...]


def places(data: InverseData) -> Places:
    """Return where the measured genes lie; all unknown without the table ``"position"``."""
    n = len(data.genes)
    table = next((one for one in data.features if one.source == _POSITION), None)
    if table is None:
        return Places(np.full(n, N_CHROMOSOMES - 1), np.zeros(n, np.float32))
    row = {name: number for number, name in reversed(list(enumerate(table.names)))}
    rows = np.array([row.get(gene, -1) for gene in data.genes])
    known = rows >= 0
    chromosome = np.where(known, table.values[rows, table.columns.index(_CHROMOSOME)], N_CHROMOSOMES - 1)
    locus = np.where(known, table.values[rows, table.columns.index(_LOCUS)], 0)
    return Places(chromosome.astype(np.int64), locus.astype(np.float32))


def gene_features(data: InverseData) -> NDArray[np.float32]:
    """Return (genes × numbers): all tables that say what a gene does, standardised; maybe no number at all."""
    return standardised(described_by(data.features), data.genes, len(data.genes))


def gene_graph(data: InverseData, nearest: int, *, random_state: int) -> Edges:
    """Join every gene to its ``nearest`` neighbours of each kind, from the training cells and the feature tables.

    By position the neighbours are the closest genes of the chromosome; by co-expression those of the largest absolute
    correlation over training cells; by a feature table those of the largest cosine. Labels play no part.
    """
    likeness = {
        _POSITION: _closeness(places(data)),
        _COEXPRESSION: _coexpression(data, random_state),
        **_by_tables(described_by(data.features), data.genes),
    }
    n = len(data.genes)
    weights = np.zeros((n, n, 1 + len(likeness)), np.float32)
    weights[np.arange(n), np.arange(n), 0] = 1
    for kind, like in enumerate(likeness.values(), start=1):
        weights[..., kind] = _nearest(like, nearest)
    return _padded(weights, (_SELF, *likeness))


def _padded(weights: NDArray[np.float32], kinds: tuple[str, ...]) -> Edges:
    present = (weights != 0).any(-1)
    most = int(present.sum(1).max())
    first = present + np.eye(len(present))  # itself, then neighbours in the order of the screen, then padding
    neighbours = np.argsort(-first, axis=1, kind="stable")[:, :most]
    there = np.take_along_axis(present, neighbours, axis=1)
    neighbours = np.where(there, neighbours, np.arange(len(present))[:, None])
    kept = np.take_along_axis(weights, neighbours[..., None], axis=1) * there[..., None]
    return Edges(neighbours, kept.astype(np.float32), kinds)


def _nearest(likeness: NDArray[np.float64], k: int) -> NDArray[np.float32]:
    """Keep the k largest values of each row, but for the diagonal; what is not above -inf is no neighbour."""
    likeness = likeness.copy()
    np.fill_diagonal(likeness, _NONE)
    k = min(k, len(likeness) - 1)
    if k < 1:
        return np.zeros_like(likeness, np.float32)
    best = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
    kept = np.zeros_like(likeness)
    np.put_along_axis(kept, best, np.take_along_axis(likeness, best, axis=1), axis=1)
    return np.where(np.isfinite(kept), kept, 0).astype(np.float32)


def _closeness(where: Places) -> NDArray[np.float64]:
    """Return 1 at distance 0, falling to 0 over the chromosome; -inf across chromosomes."""
    near = 1 - np.abs(where.locus[:, None] - where.locus).astype(np.float64)
    same = (where.chromosome[:, None] == where.chromosome) & (where.chromosome < N_CHROMOSOMES - 1)
    return np.where(same, near, _NONE)


def _coexpression(data: InverseData, random_state: int) -> NDArray[np.float64]:
    """Return the absolute correlation of every two genes over training cells."""
    rows = np.flatnonzero(~data.is_val)
    if len(rows) > _CELLS:
        rows = np.sort(np.random.default_rng(random_state).choice(rows, _CELLS, replace=False))
    x = data.x[rows].astype(np.float64)
    return _or_none(np.abs(cosines((x - x.mean(0)).T, (x - x.mean(0)).T)))


def _by_tables(tables: Sequence[FeatureTable], genes: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    values = {one.source: standardised([one], genes, len(genes)).astype(np.float64) for one in tables}
    return {source: _or_none(cosines(rows, rows)) for source, rows in values.items()}


def _or_none(likeness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the likeness, -inf where there is none."""
    return np.where(likeness > 0, likeness, _NONE)
