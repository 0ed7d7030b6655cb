"""A vector of features per gene, from the tables of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.encoding import all_names, described_by, standardised

_WIDTH = 100  # wider tables are reduced, over all genes that a source knows
_REMEMBERED = 4
_READ: dict[tuple[Any, ...], tuple[Any, Any]] = {}  # holds the tables too, so that no other has their id


@dataclass(frozen=True)
class GeneVectors:
    """What sources say of genes, reduced to a hundred numbers at most.

    Attributes
    ----------
    place
        Row of each gene of which something is known.
    values
        (genes × numbers), float64.
    axes
        (numbers of the tables × numbers): what reduces further genes in the same way; None where nothing was reduced.
    """

    place: dict[str, int]
    values: NDArray[np.float64]
    axes: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, data: Bundle, source: str | None = None) -> Self:
        """Read one source, or all that say what a gene does; the last readings are remembered.

        Raises
        ------
        KeyError
            There is no such source.
        """
        key = (id(data.features), source, data.genes)
        if key not in _READ:
            while len(_READ) >= _REMEMBERED:
                _READ.pop(next(iter(_READ)))
            _READ[key] = (data.features, cls._read(data, source))
        return _READ[key][1]

    @classmethod
    def _read(cls, data: Bundle, source: str | None) -> Self:
        tables = [table for table in data.features if table.source == source] if source else described_by(data.features)
        if not tables:
            wanted = repr(source) if source else "that says what a gene does (gene sets, pathways, a table)"
            found = [table.source for table in data.features]
            msg = (
                f"expected a gene feature {wanted}; found {found}. "
                "Run `spm.tl.gene_features(adata, [...], files={...})` first."
            )
            raise KeyError(msg)
        names = all_names(data.genes, tables)
        values = standardised(tables, names, len(data.genes)).astype(np.float64)
        known = np.flatnonzero(values.any(1))
        values, axes = values[known], None
        if values.shape[1] > _WIDTH < len(known):
            axes = TruncatedSVD(_WIDTH, random_state=0).fit(values).components_.T
            values = values @ axes
        return cls({names[row]: number for number, row in enumerate(known)}, values, axes)

    def extended(self, tables: Sequence[FeatureTable], genes: tuple[str, ...]) -> GeneVectors:
        """Return vectors that also hold further genes of tables of the same sources and measured genes."""
        names = all_names(genes, tables)
        values = standardised(tables, names, len(genes)).astype(np.float64)
        new = [row for row in np.flatnonzero(values.any(1)) if names[row] not in self.place]
        values = values[new] if self.axes is None else values[new] @ self.axes
        if values.shape[1] != self.values.shape[1]:
            return self
        place = {names[row]: len(self.place) + number for number, row in enumerate(new)}
        return GeneVectors(self.place | place, np.vstack([self.values, values]), self.axes)

    def shuffled(self, random_state: int) -> GeneVectors:
        """Return the same vectors, each given to another gene: what features are worth by chance."""
        order = np.random.default_rng(random_state).permutation(len(self.values))
        return GeneVectors(self.place, self.values[order], self.axes)

    def take(self, names: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the vectors of genes (n × numbers), zeros where nothing is known, and where something is."""
        rows = np.array([self.place.get(name, -1) for name in names], np.int64)
        return np.where((rows >= 0)[:, None], self.values[rows], 0.0), rows >= 0
