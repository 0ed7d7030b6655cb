"""A Gaussian process over perturbation × readout gene, fitted to the known entries by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba.models.sparse.labels import Labels

_STEPS, _CLOSE = 60, 1e-2
_THIN = 0.1  # share of all pairs of entries of one gene above which a dense product is the faster form

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Prior:
    """Variances of the three ways in which two entries are alike, each times the kernel of their perturbations.

    Attributes
    ----------
    own
        Entries of the same readout gene.
    shared
        Entries of alike readout genes, times the kernel of the genes.
    strength
        All entries: a strong perturbation changes many genes.
    noise
        Variance of the noise of an entry of weight 1.
    """

    own: float
    shared: float
    strength: float
    noise: float


@dataclass(frozen=True)
class Process:
    """What the known entries say of every other.

    Attributes
    ----------
    prior
        Variances.
    own
        (perturbations × genes): weights of the entries, CSR.
    shared
        (perturbations × numbers of a gene).
    strength
        (perturbations,).
    """

    prior: Prior
    own: sp.csr_matrix
    shared: Vector
    strength: Vector

    @classmethod
    def fit(cls, labels: Labels, residual: Vector, kernel: Vector, genes: Vector, prior: Prior) -> Self:
        """Fit residuals (entries,), given the kernel of the perturbations and vectors of the readout genes."""
        own = _own_product(labels, kernel)
        row = labels.row

        def product(entries: Vector) -> Vector:
            result = prior.noise / labels.weight * entries
            if prior.own:
                result = result + prior.own * own(entries)
            if prior.shared:
                carried = kernel @ (labels.matrix(entries) @ genes)
                result = result + prior.shared * (carried @ genes.T)[row, labels.column]
            if prior.strength:
                total = np.bincount(row, entries, len(labels.parts)).astype(np.float32)
                result = result + prior.strength * (kernel @ total)[row]
            return np.asarray(result, np.float32)

        return cls.of(prior, labels.matrix(_conjugate_gradients(product, residual)), genes)

    @classmethod
    def of(cls, prior: Prior, own: sp.csr_matrix, genes: Vector) -> Self:
        """Return the process of which these are the weights of the entries (perturbations × genes)."""
        return cls(prior, own, np.asarray(own @ genes, np.float32), np.asarray(own.sum(1), np.float32).ravel())

    def predict(self, across: Vector, genes: Vector) -> tuple[Vector, Vector, Vector]:
        """Return what is expected of new perturbations from the same gene, alike genes and strength.

        ``across`` is their kernel with the known ones (new × perturbations); the last of the three is (new × 1).
        """
        own = self.prior.own * np.asarray((self.own.T @ across.T).T, np.float32)
        strength = self.prior.strength * (across @ self.strength)[:, None]
        return own.astype(np.float32), self.alike(across, genes), strength.astype(np.float32)

    def alike(self, across: Vector, genes: Vector) -> Vector:
        """Return what is expected of new perturbations (new × genes) from alike genes alone."""
        return np.asarray(self.prior.shared * (across @ self.shared) @ genes.T, np.float32)


def _own_product(labels: Labels, kernel: Vector) -> Callable[[Vector], Vector]:
    """Return the product of entries with the kernel of their perturbations within each readout gene."""
    order = np.argsort(labels.column, kind="stable")
    counts = np.bincount(labels.column, minlength=labels.n_genes)
    n_rows = len(labels.parts)
    if np.square(counts.astype(float)).sum() > _THIN * n_rows**2 * labels.n_genes:
        return lambda entries: (kernel @ labels.matrix(entries).toarray())[labels.row, labels.column]
    groups = np.split(order, np.cumsum(counts)[:-1])
    first = np.concatenate([np.repeat(some, len(some)) for some in groups])
    second = np.concatenate([np.tile(some, len(some)) for some in groups])
    values = kernel[labels.row[first], labels.row[second]]
    matrix = sp.csr_matrix((values, (first, second)), shape=(len(order),) * 2)
    return lambda entries: np.asarray(matrix @ entries, np.float32)


def _conjugate_gradients(product: Callable[[Vector], Vector], target: Vector) -> Vector:
    """Solve ``product(x) = target`` for a symmetric positive product."""
    x = np.zeros_like(target)
    rest = target.copy()
    direction = rest.copy()
    square = start = float(rest @ rest)
    for _ in range(_STEPS):
        if square <= _CLOSE**2 * start:
            break
        moved = product(direction)
        step = square / float(direction @ moved)
        x = x + step * direction
        rest = rest - step * moved
        before, square = square, float(rest @ rest)
        direction = rest + square / before * direction
    return x
