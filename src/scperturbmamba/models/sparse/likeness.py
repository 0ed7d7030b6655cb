"""How alike genes are, by each block of features and by all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.sparse.elsewhere import Elsewhere
from scperturbmamba.models.sparse.vectors import Block, unit_rows

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Likeness:
    """Cosines between genes.

    Attributes
    ----------
    blocks
        Unit vectors of genes per block.
    elsewhere
        Another screen, if the features hold one.
    """

    blocks: tuple[Block, ...]
    elsewhere: Elsewhere | None = None

    def learn(self, tables: Sequence[FeatureTable]) -> Likeness:
        """Return the same likeness over more genes."""
        given = {table.source: table for table in tables}
        blocks = tuple(one.learn(given[one.source]) if one.source in given else one for one in self.blocks)
        return Likeness(blocks, self.elsewhere and self.elsewhere.learn(tables))

    def knows(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Tell of which genes any block knows something (n,)."""
        return np.array([any(name in one.vectors.place for one in self.blocks) for name in names], bool)

    def vectors(self, names: Sequence[str]) -> list[Rows]:
        """Return the unit vectors of genes in each block; zeros where a block does not know a gene."""
        return [one.vectors.take(names)[0].astype(np.float32) for one in self.blocks]

    def together(self, names: Sequence[str]) -> Rows:
        """Return the blocks side by side, each row of length 1 (n × all numbers)."""
        blocks = self.vectors(names)
        return unit_rows(np.hstack(blocks)).astype(np.float32) if blocks else np.zeros((len(names), 0), np.float32)


def sharpened(one: Rows, other: Rows, power: float) -> Rows:
    """Return ``exp(power (cosine - 1))`` of unit rows, positive definite; 0 where a row is zero."""
    known = np.any(one, axis=1, keepdims=True) & np.any(other, axis=1)[None]
    return np.where(known, np.exp(power * (one @ other.T - 1)), 0).astype(np.float32)
