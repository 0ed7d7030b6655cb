"""Conditions and genes as the arrays that the network reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.doses import Doses
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.engine.tokens import N_CHROMOSOMES, ConditionInputs, GeneInputs

UNKNOWN_KIND = ""
_IDENTITY, _POSITION = "identity", "position"
_CHROMOSOME, _KNOWN = "chromosome", "known"


@dataclass
class Encoder:
    """How conditions and genes of a screen become arrays; all of it goes into the checkpoint.

    Attributes
    ----------
    genes
        Measured genes in the order of the screen.
    order
        (genes,): place in the screen of each gene token, so that the sequence runs along the genome.
    parts
        Names that have a learned embedding.
    kinds
        Kinds that have a learned embedding; the first is unknown.
    names
        Genes with features: the measured ones in the order of the screen, then others.
    features, code
        (names × f), (names × c), standardised float32.
    chromosome, locus
        (genes,), (genes × k) of the measured genes.
    provenance
        Hash per feature source.
    doses
        How high those of each drug go.
    """

    genes: tuple[str, ...]
    order: NDArray[np.int64]
    parts: tuple[str, ...]
    kinds: tuple[str, ...]
    names: tuple[str, ...]
    features: NDArray[np.float32]
    code: NDArray[np.float32]
    chromosome: NDArray[np.int64]
    locus: NDArray[np.float32]
    provenance: dict[str, str] = field(default_factory=dict)
    doses: Doses = field(default_factory=Doses)

    @classmethod
    def fit(cls, data: Bundle, *, order: str = "genome") -> Encoder:
        """Learn names, kinds and standardisation from the training rows and the feature tables.

        ``order`` of the genes: along the ``"genome"``, or ``"random"``, the same for every call.
        """
        rows = [data.conditions[row] for row in data.training()]
        parts = sorted({part.name for one in rows for part in one.parts})
        kinds = sorted({part.kind for one in rows for part in one.parts} - {UNKNOWN_KIND})
        tables = {table.source: table for table in data.features}
        names = all_names(data.genes, data.features)
        n_genes = len(data.genes)
        chromosome, locus = _positions(tables.get(_POSITION), n_genes)
        along = _genome_order(chromosome, tables.get(_POSITION), n_genes)
        return cls(
            genes=data.genes,
            order=along if order == "genome" else np.random.default_rng(0).permutation(n_genes),
            parts=tuple(parts),
            kinds=(UNKNOWN_KIND, *kinds),
            names=names,
            features=_stack(described_by(data.features), names, n_genes),
            code=_stack(_coded_by(data.features), names, n_genes),
            chromosome=chromosome,
            locus=locus,
            provenance={source: table.provenance for source, table in tables.items()},
            doses=data.doses,
        )

    def gene_inputs(self) -> GeneInputs:
        """Return what the network knows of the measured genes, in the order of the sequence."""
        n = len(self.genes)
        features = np.concatenate([self.features[:n], self.code[:n]], axis=1)
        return GeneInputs(
            torch.from_numpy(self.chromosome[self.order]),
            torch.from_numpy(self.locus[self.order]),
            torch.from_numpy(features[self.order]),
        )

    def encode(
        self,
        conditions: Sequence[Condition],
        context: NDArray[np.int64],
        covariates: NDArray[np.float32],
        pairs: NDArray[np.float32] | None = None,
    ) -> ConditionInputs:
        """Return conditions as padded arrays; ``pairs`` (rows × genes × f) come in the order of the screen."""
        rows, width = len(conditions), max([1, *(len(one.parts) for one in conditions)])
        token = np.empty(len(self.genes), np.int64)
        token[self.order] = np.arange(len(self.genes))
        index, kind, present = (np.zeros((rows, width), np.int64) for _ in range(3))
        place, name_row = (np.full((rows, width), -1) for _ in range(2))
        dose = np.ones((rows, width), np.float32)
        part_row = {name: row + 1 for row, name in enumerate(self.parts)}
        kind_row = {name: row for row, name in enumerate(self.kinds)}
        known = {name: row for row, name in enumerate(self.names)}
        measured = {name: row for row, name in enumerate(self.genes)}
        for row, condition in enumerate(conditions):
            for column, part in enumerate(condition.parts):
                index[row, column] = part_row.get(part.name, 0)
                kind[row, column] = kind_row.get(part.kind, 0)
                present[row, column] = 1
                dose[row, column] = self.doses.share(part)
                name_row[row, column] = known.get(part.name, -1)
                place[row, column] = token[measured[part.name]] if part.name in measured else -1
        return ConditionInputs(
            index=torch.from_numpy(index),
            kind=torch.from_numpy(kind),
            features=torch.from_numpy(_take(self.features, name_row)),
            code=torch.from_numpy(_take(self.code, name_row)),
            present=torch.from_numpy(present.astype(bool)),
            place=torch.from_numpy(place),
            context=torch.from_numpy(np.asarray(context, np.int64)),
            covariates=torch.from_numpy(_at_least_one_column(covariates.astype(np.float32))),
            pairs=None if pairs is None else torch.from_numpy(np.ascontiguousarray(pairs[:, self.order])),
            dose=torch.from_numpy(dose) if self.doses.reference else None,
        )

    def extended(self, tables: Sequence[FeatureTable]) -> Encoder:
        """Return an encoder that also knows further genes, from tables made of the same sources."""
        names, known = all_names(self.genes, tables), set(self.names)
        new = [number for number, name in enumerate(names) if name not in known]
        if not new:
            return self
        features = _stack(described_by(tables), names, len(self.genes))[new]
        code = _stack(_coded_by(tables), names, len(self.genes))[new]
        if features.shape[1] != self.features.shape[1] or code.shape[1] != self.code.shape[1]:
            return self
        return replace(
            self,
            names=(*self.names, *(names[number] for number in new)),
            features=np.vstack([self.features, features]),
            code=np.vstack([self.code, code]),
        )

    def has_features(self, part: Part) -> bool:
        """Tell whether anything but a name is known of a part."""
        return part.name in self._described

    @cached_property
    def _described(self) -> frozenset[str]:
        """Names of genes of which something is known; an encoder that learns more is another object."""
        return frozenset(self.names[row] for row in np.flatnonzero(self.features.any(1)))


def described_by(tables: Sequence[FeatureTable]) -> list[FeatureTable]:
    """Return the tables that say what a gene does: all but its code and its place."""
    return [table for table in tables if table.source not in (_IDENTITY, _POSITION)]


def _coded_by(tables: Sequence[FeatureTable]) -> list[FeatureTable]:
    return [table for table in tables if table.source == _IDENTITY]


def all_names(genes: tuple[str, ...], tables: Sequence[FeatureTable]) -> tuple[str, ...]:
    """Return the modelled genes, then every other gene that a table knows."""
    names = dict.fromkeys(genes)
    for table in tables:
        names.update(dict.fromkeys(table.names))
    return tuple(names)


def _positions(table: FeatureTable | None, n_genes: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if table is None:
        return np.full(n_genes, N_CHROMOSOMES - 1), np.zeros((n_genes, 1), np.float32)
    chromosome = table.values[:n_genes, table.columns.index(_CHROMOSOME)].astype(np.int64)
    fourier = [number for number, name in enumerate(table.columns) if name.startswith(("sin", "cos"))]
    return chromosome, np.ascontiguousarray(table.values[:n_genes, fourier])


def _genome_order(chromosome: NDArray[np.int64], table: FeatureTable | None, n_genes: int) -> NDArray[np.int64]:
    """Return genes by chromosome and place; unknown ones last, in the order of the screen."""
    if table is None:
        return np.arange(n_genes)
    locus = table.values[:n_genes, table.columns.index("locus")]
    return np.lexsort((locus, chromosome))


def standardised(tables: Sequence[FeatureTable], names: tuple[str, ...], n_genes: int) -> NDArray[np.float32]:
    """Return names × numbers of several tables; unknown names are zero.

    Tables of genes are standardised over the measured genes, those of drugs over the drugs that they know.
    """
    blocks = [_block(table, names, n_genes) for table in tables]
    return np.concatenate([np.zeros((len(names), 0), np.float32), *blocks], axis=1)


def _stack(tables: Sequence[FeatureTable], names: tuple[str, ...], n_genes: int) -> NDArray[np.float32]:
    return _at_least_one_column(standardised(tables, names, n_genes))


def _block(table: FeatureTable, names: tuple[str, ...], n_genes: int) -> NDArray[np.float32]:
    keep = [number for number, column in enumerate(table.columns) if column != _KNOWN]
    row = {name: number for number, name in reversed(list(enumerate(table.names)))}
    values = table.values[:, keep]
    known = np.ones(len(values), bool)
    if _KNOWN in table.columns:
        known = table.values[:, table.columns.index(_KNOWN)] > 0
    if not table.scaled:
        return _take(np.where(known[:, None], values, 0), _rows_of(names, row))
    genes = frozenset(names[:n_genes])
    measured = np.array([name in genes for name in table.names], bool)
    base = values[known & measured if measured.any() else known]
    centre, spread = (base.mean(0), base.std(0)) if len(base) else (0.0, np.ones(len(keep), np.float32))
    scaled = np.where(known[:, None], (values - centre) / np.where(spread > 0, spread, 1), 0)
    return _take(scaled.astype(np.float32), _rows_of(names, row))


def _rows_of(names: Sequence[str], row: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array([row.get(name, -1) for name in names], np.int64)


def _take(table: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return rows of a table, zeros where the row is -1."""
    return np.where((rows >= 0)[..., None], table[rows], 0).astype(np.float32)


def _at_least_one_column(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values if values.shape[1] else np.zeros((len(values), 1), np.float32)
