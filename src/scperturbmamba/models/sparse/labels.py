"""What a table with gaps says: the known entries of single perturbations, and how common they are per gene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Part
from scperturbmamba.models.part_effects import training_rows

_DRAW = 2.0  # entries that the mean over all genes counts for in the mean of a gene


@dataclass(frozen=True)
class Labels:
    """Known entries of perturbations × readout genes.

    Attributes
    ----------
    parts
        Perturbed genes, one per row, sorted.
    row, column
        (entries,): place of each known entry.
    value, weight
        (entries,), float32; the weights have mean 1.
    n_genes
        Readout genes.
    """

    parts: tuple[Part, ...]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float32]
    weight: NDArray[np.float32]
    n_genes: int

    @classmethod
    def of(cls, data: Bundle, context: int) -> Self:
        """Read the training rows of a context in which one thing was done.

        Raises
        ------
        ValueError
            There is none, or nothing of them is known.
        """
        rows = [row for row in training_rows(data, context) if len(data.conditions[row].parts) == 1]
        parts = sorted({data.conditions[row].parts[0] for row in rows})
        place = {part: number for number, part in enumerate(parts)}
        member = sp.csr_matrix(
            (np.ones(len(rows)), ([place[data.conditions[row].parts[0]] for row in rows], range(len(rows)))),
            shape=(len(parts), len(rows)),
        )
        weight = data.known[rows].astype(np.float64) if data.weight is None else data.weight[rows].astype(np.float64)
        total = np.asarray(member @ weight)
        row, column = np.nonzero(total)
        if not len(row):
            msg = "expected training conditions of one perturbation with known effects; found none. Add some."
            raise ValueError(msg)
        product = np.asarray(member @ (weight * data.delta[rows]))
        found = total[row, column]
        value = (product[row, column] / found).astype(np.float32)
        return cls(tuple(parts), row, column, value, (found / found.mean()).astype(np.float32), len(data.genes))

    @property
    def are_calls(self) -> bool:
        """Whether every entry is 0 or 1."""
        return bool(np.isin(self.value, (0.0, 1.0)).all())

    def take(self, keep: NDArray[np.int64]) -> Labels:
        """Return the labels of some perturbations, in the order given."""
        new = np.full(len(self.parts), -1)
        new[keep] = np.arange(len(keep))
        inside = new[self.row] >= 0
        parts = tuple(self.parts[row] for row in keep)
        return Labels(
            parts, new[self.row[inside]], self.column[inside], self.value[inside], self.weight[inside], self.n_genes
        )

    def sample(self, n: int, rng: np.random.Generator) -> Labels:
        """Return at most so many entries, drawn without replacement."""
        if len(self.row) <= n:
            return self
        some = np.sort(rng.choice(len(self.row), n, replace=False))
        return Labels(self.parts, self.row[some], self.column[some], self.value[some], self.weight[some], self.n_genes)

    def mean_per_gene(self, values: NDArray[np.floating], draw: float) -> NDArray[np.float64]:
        """Return the mean of values (entries,) for each gene, drawn to that of all by so many entries."""
        count = np.bincount(self.column, self.weight, self.n_genes)
        total = np.bincount(self.column, self.weight * values, self.n_genes)
        return np.asarray((total + draw * total.sum() / count.sum()) / (count + draw), np.float64)

    def matrix(self, entries: NDArray[np.floating]) -> sp.csr_matrix:
        """Return numbers per entry as perturbations × genes."""
        shape = (len(self.parts), self.n_genes)
        return sp.csr_matrix((entries.astype(np.float32), (self.row, self.column)), shape=shape)


@dataclass(frozen=True)
class Base:
    """What is expected of a readout gene before anything is known of the perturbation.

    Attributes
    ----------
    mean
        (genes,): mean label, drawn to the mean over all genes where a gene has few.
    spread
        (genes,): standard deviation of the labels, drawn likewise.
    count
        (genes,): summed weights.
    are_calls
        Whether the labels are 0 or 1.
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    count: NDArray[np.float64]
    are_calls: bool

    @classmethod
    def of(cls, labels: Labels) -> Self:
        """Count the labels of each gene."""
        count = np.bincount(labels.column, labels.weight, labels.n_genes).astype(np.float64)
        mean = labels.mean_per_gene(labels.value, _DRAW)
        if labels.are_calls:
            return cls(mean, np.sqrt(np.clip(mean * (1 - mean), 1e-4, None)), count, True)
        variance = labels.mean_per_gene(np.square(labels.value - mean[labels.column]), _DRAW)
        return cls(mean, np.sqrt(np.maximum(variance, 1e-12)), count, False)

    def score(self) -> NDArray[np.float32]:
        """Return the mean on the scale of the scores: log-odds of calls, effects as they are."""
        return (log_odds(self.mean) if self.are_calls else self.mean).astype(np.float32)

    def scale(self) -> NDArray[np.float32]:
        """Return what a spread is worth on the scale of the scores: log-odds of calls are not stretched."""
        return np.ones(len(self.mean), np.float32) if self.are_calls else self.spread.astype(np.float32)


def log_odds(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return log-odds, cut where a call is all but certain."""
    inside = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(inside / (1 - inside)), np.float64)
