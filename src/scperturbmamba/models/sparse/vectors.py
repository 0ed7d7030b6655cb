"""Unit vectors of genes per source, in axes that are kept, so that genes described later fit beside them."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.encoding import described_by
from scperturbmamba.models.gene_vectors import GeneVectors

_KNOWN = "known"
_WIDTH = 100
_NUMBERED = re.compile(r"(.*?)\d+")


@dataclass(frozen=True)
class Block:
    """Columns of one source that belong together, such as the random walk of a graph.

    Attributes
    ----------
    source, name
        Source, and what tells the block from others of the source.
    columns
        Its columns in the table of the source.
    centre, scale
        (columns,): subtracted from and divided out of them.
    axes
        (columns × numbers): what they are then projected on; empty where they stay as they are.
    middle
        (numbers,): mean vector of the genes first described, of length 1.
    vectors
        Vectors of genes, each of length 1.
    """

    source: str
    name: str
    columns: tuple[str, ...]
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    axes: NDArray[np.float32]
    middle: NDArray[np.float32]
    vectors: GeneVectors

    @property
    def label(self) -> str:
        """Source and name in one word."""
        return f"{self.source} {self.name}".strip()

    @classmethod
    def of(cls, table: FeatureTable, name: str, columns: Sequence[str]) -> Self:
        """Learn the axes from all genes that the source knows."""
        values, _ = known_rows(table, columns)
        centre, scale = _standard(values) if table.scaled else (np.zeros(len(columns)), np.ones(len(columns)))
        axes = np.zeros((len(columns), 0))
        if len(columns) > _WIDTH < len(values):
            unit = unit_rows((values - centre) / scale)
            axes = TruncatedSVD(_WIDTH, n_iter=4, random_state=0).fit(unit).components_.T
        kept = [np.asarray(one, np.float32) for one in (centre, scale, axes)]
        middle = np.zeros(axes.shape[1] or len(columns), np.float32)
        empty = GeneVectors({}, middle[None][:0].astype(np.float64))
        made = cls(table.source, name, tuple(columns), kept[0], kept[1], kept[2], middle, empty).learn(table)
        if not made.vectors.place:
            return made
        return replace(made, middle=unit_rows(made.vectors.values.mean(0, keepdims=True))[0].astype(np.float32))

    def learn(self, table: FeatureTable) -> Self:
        """Return the block with the genes of a table of the same source added; those it has stay as they are."""
        if not set(self.columns) <= set(table.columns):
            return self
        values, names = known_rows(table, self.columns, without=self.vectors.place)
        values = unit_rows((values - self.centre) / self.scale)
        values = unit_rows(values @ self.axes) if self.axes.shape[1] else values
        nonzero = np.flatnonzero(values.any(1))
        place = dict(self.vectors.place)
        place |= {names[row]: len(place) + number for number, row in enumerate(nonzero)}
        single = values[nonzero].astype(np.float32)  # as it is stored
        stacked = np.vstack([self.vectors.values, single]).astype(np.float64)
        return replace(self, vectors=GeneVectors(place, stacked))


def blocks_of(tables: Sequence[FeatureTable]) -> list[Block]:
    """Return the blocks of all tables that say what a gene does and know some gene."""
    made = [Block.of(table, name, some) for table in described_by(tables) for name, some in _parts(table).items()]
    return [one for one in made if one.vectors.place]


def unit_rows(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(length > 1e-9, length, 1), np.float64)


def _standard(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what to subtract and divide by: a rare set counts more, by the logarithm of its rarity."""
    if np.isin(values, (0, 1)).all():
        rarity = np.log((1 + len(values)) / (1 + values.sum(0))) + 1
        return np.zeros(values.shape[1]), 1 / rarity
    spread = values.std(0) if len(values) else np.ones(values.shape[1])
    centre = values.mean(0) if len(values) else np.zeros(values.shape[1])
    return centre, np.where(spread > 0, spread, 1)


def _parts(table: FeatureTable) -> dict[str, list[str]]:
    """Return the columns of a table by what stands before their number; all together where one has no number."""
    columns = [name for name in table.columns if name != _KNOWN]
    found = [_NUMBERED.fullmatch(name) for name in columns]
    if not all(found):
        return {"": columns}
    parts: dict[str, list[str]] = {}
    for name, match in zip(columns, found):
        parts.setdefault(match[1] if match else "", []).append(name)
    return parts if min(map(len, parts.values())) > 1 else {"": columns}


def known_rows(
    table: FeatureTable, columns: Sequence[str], without: Container[str] = ()
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the rows of genes that the source knows, each gene once, and their names."""
    first = {name: number for number, name in reversed(list(enumerate(table.names))) if name not in without}
    rows = np.array(sorted(first.values()), dtype=np.int64)
    if _KNOWN in table.columns:
        rows = rows[table.values[rows, table.columns.index(_KNOWN)] > 0]
    place = {name: number for number, name in enumerate(table.columns)}
    values = table.values[rows][:, [place[name] for name in columns]]
    rows, values = rows[values.any(1)], values[values.any(1)]
    return values.astype(np.float64), [table.names[int(number)] for number in rows]
