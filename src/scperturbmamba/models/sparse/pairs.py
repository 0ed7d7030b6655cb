"""What level two reads of each pair: scores of level one, how near target and gene are, and rates of the gene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.sparse.evidence import Evidence
from scperturbmamba.models.sparse.likeness import Likeness

Rows = NDArray[np.float32]
_NEAREST = (1, 5)  # known perturbations whose likeness to the new one is averaged
_FAR = 6.0  # standard deviations at which a number is cut


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each number over the training pairs.

    Attributes
    ----------
    mean, spread
        (numbers,).
    """

    mean: Rows
    spread: Rows

    @classmethod
    def of(cls, numbers: Rows) -> Self:
        """Measure the columns (pairs × numbers)."""
        spread = numbers.std(0)
        return cls(numbers.mean(0), np.where(spread > 0, spread, 1).astype(np.float32))

    def standardise(self, numbers: Rows) -> Rows:
        """Return the numbers in standard deviations from the training mean, cut where they are far."""
        return np.clip((numbers - self.mean) / self.spread, -_FAR, _FAR).astype(np.float32)


def pair_numbers(evidence: Evidence, likeness: Likeness, names: Sequence[str], genes: Sequence[str]) -> dict[str, Rows]:
    """Return the numbers of every new perturbation and readout gene, each (new × genes) or of a shape that fits."""
    found = evidence.scores(names, likeness)
    if likeness.elsewhere is not None:
        found["another screen"] = likeness.elsewhere.effects(names, genes)
    same = np.array([[name == gene for gene in genes] for name in names], np.float32).reshape(len(names), len(genes))
    target_degree, gene_degree = [], []
    for block, target, gene in zip(likeness.blocks, likeness.vectors(names), likeness.vectors(genes)):
        found[f"near by {block.label}"] = (target @ gene.T) * (1 - same)
        target_degree.append(target @ block.middle)
        gene_degree.append(gene @ block.middle)
    found["degree of the target"] = np.mean(target_degree, axis=0)[:, None]
    found["degree of the gene"] = np.mean(gene_degree, axis=0)[None]
    rows = likeness.together(names)
    like = np.sort(rows @ likeness.together(evidence.names).T, axis=1)
    for n in _NEAREST:
        found[f"likeness of the {n} nearest"] = like[:, -n:].mean(1, keepdims=True)
    for number, place in enumerate((rows @ evidence.axes.directions).T):
        found[f"direction {number + 1} of the target"] = place[:, None]
    found["target is the gene"] = same
    found["usual score"] = evidence.base.score().astype(np.float32)[None]
    found["entries of the gene"] = np.log1p(evidence.base.count).astype(np.float32)[None]
    return found


def at(numbers: Mapping[str, Rows], row: NDArray[np.int64], column: NDArray[np.int64]) -> Rows:
    """Return the numbers of some pairs (pairs × numbers)."""
    found = np.empty((len(row), len(numbers)), np.float32)
    for place, one in enumerate(numbers.values()):
        found[:, place] = one[row if len(one) > 1 else 0, column if one.shape[1] > 1 else 0]
    return found


def dense(numbers: Mapping[str, Rows], shape: tuple[int, int]) -> Rows:
    """Return the numbers of all pairs (pairs × numbers), the genes of the first perturbation first."""
    found = np.empty((*shape, len(numbers)), np.float32)
    for place, one in enumerate(numbers.values()):
        found[..., place] = one
    return found.reshape(-1, len(numbers))
