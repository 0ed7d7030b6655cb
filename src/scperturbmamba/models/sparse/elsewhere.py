"""What another screen, given as gene features, says of a perturbation and a gene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.sparse.vectors import known_rows


@dataclass(frozen=True)
class Elsewhere:
    """Another screen of which the gene features tell: what perturbing a gene does there, and how a gene responds.

    Attributes
    ----------
    done, responds
        Coordinates of perturbed and of measured genes, whose product is the effect there minus the mean per gene.
    """

    done: GeneVectors
    responds: GeneVectors

    @classmethod
    def of(cls, tables: Sequence[FeatureTable]) -> Self | None:
        """Read the two tables of another screen, if both are there and fit each other."""
        found = {table.source: table for table in tables}
        pair = [found[source] for source in (_keys.SCREEN, _keys.SCREEN_RESPONSE) if source in found]
        if len(pair) < 2 or pair[0].columns != pair[1].columns:
            return None
        return cls(*(_raw(table) for table in pair))

    def learn(self, tables: Sequence[FeatureTable]) -> Self:
        """Return the same screen with the genes added that further tables describe."""
        other = type(self).of(tables)
        if other is None:
            return self
        return type(self)(_joined(self.done, other.done), _joined(self.responds, other.responds))

    def effects(self, names: Sequence[str], genes: Sequence[str]) -> NDArray[np.float32]:
        """Return the effects there (names × genes), 0 where nothing is known."""
        return (self.done.take(names)[0] @ self.responds.take(genes)[0].T).astype(np.float32)


def _raw(table: FeatureTable) -> GeneVectors:
    values, names = known_rows(table, [name for name in table.columns if name != "known"])
    return GeneVectors({name: row for row, name in enumerate(names)}, values)


def _joined(one: GeneVectors, other: GeneVectors) -> GeneVectors:
    new = [name for name in other.place if name not in one.place]
    place = one.place | {name: len(one.place) + number for number, name in enumerate(new)}
    return GeneVectors(place, np.vstack([one.values, other.take(new)[0]]))
