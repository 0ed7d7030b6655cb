"""A vector of features per gene, from the tables of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from scperturbmamba.data.bundle import Bundle
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
    """

    place: dict[str, int]
    values: NDArray[np.float64]

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
        values = values[known]
        if values.shape[1] > _WIDTH < len(known):
            values = TruncatedSVD(_WIDTH, random_state=0).fit_transform(values)
        return cls({names[row]: number for number, row in enumerate(known)}, values)

    def shuffled(self, random_state: int) -> GeneVectors:
        """Return the same vectors, each given to another gene: what features are worth by chance."""
        order = np.random.default_rng(random_state).permutation(len(self.values))
        return GeneVectors(self.place, self.values[order])

    def take(self, names: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the vectors of genes (n × numbers), zeros where nothing is known, and where something is."""
        rows = np.array([self.place.get(name, -1) for name in names], np.int64)
        return np.where((rows >= 0)[:, None], self.values[rows], 0.0), rows >= 0
