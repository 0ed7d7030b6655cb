"""The toy world's truth: a signed regulatory network over pathways, and what a perturbation does in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_NEIGHBOUR_REACH = 3_000_000  # bases over which a silenced locus dims its neighbours
_CEILING = 1.5  # no pathway moves a gene by more, in natural log units


@dataclass(frozen=True)
class Network:
    """What is true of the toy world; every matrix in natural log units.

    Attributes
    ----------
    membership
        Genes × pathways, 0/1: who belongs where (the published gene sets are a noisy copy).
    loading
        Genes × pathways: how a gene answers to the activity of a pathway.
    drive
        Genes × pathways: what silencing a gene does to the activity of each pathway.
    wiring
        Genes × genes, sparse: direct edges from a silenced gene (row) to a reader (column).
    reach
        Pathways × pathways: what one pathway (row) does to the activity of each.
    """

    membership: NDArray[np.float64]
    loading: NDArray[np.float64]
    drive: NDArray[np.float64]
    wiring: NDArray[np.float64]
    reach: NDArray[np.float64]

    def effects(self, targets: NDArray[np.int64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the change of every gene (n_targets × genes) when each target is silenced alone."""
        effect = self.through_pathways(self.drive[targets], gain) + self.wiring[targets]
        effect[np.arange(len(targets)), targets] = -1.6
        return effect

    def through_pathways(self, activity: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the change of every gene (n × genes) where the activity of pathways changes (n × pathways)."""
        return np.asarray(_CEILING * np.tanh(activity * gain @ self.loading.T / _CEILING), np.float64)

    def interaction(self, a: int, b: int, gain: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what a pair does beyond the sum of its parts: saturation where both drive one pathway."""
        shared = np.sign(self.drive[a]) * np.minimum(np.abs(self.drive[a]), np.abs(self.drive[b]))
        shared *= np.sign(self.drive[a]) == np.sign(self.drive[b])
        return -0.6 * (shared * gain) @ self.loading.T


def make_network(genes: pd.DataFrame, n_pathways: int, rng: np.random.Generator, *, neighbours: float = 0.5) -> Network:
    """Draw a network over the genes of a table with ``chromosome`` and ``start``.

    ``neighbours`` is by how much, in natural log units, silencing dims a gene at no distance.
    """
    n_genes = len(genes)
    membership = _membership(n_genes, n_pathways, rng)
    loading = membership * rng.normal(0.75, 0.25, (n_genes, n_pathways)) * rng.choice([1, 1, 1, -1], (n_genes, 1))
    links = rng.normal(0, 0.5, (n_pathways, n_pathways)) * (rng.random((n_pathways, n_pathways)) < 0.2)
    np.fill_diagonal(links, 0)
    reach = np.eye(n_pathways) + links + 0.5 * links @ links
    strength = rng.lognormal(-0.25, 0.45, (n_genes, 1))
    drive = -strength * (membership @ reach)
    edges = rng.normal(0, 0.6, (n_genes, n_genes)) * (rng.random((n_genes, n_genes)) < 0.01)
    return Network(membership, loading, drive, edges - neighbours * _neighbours(genes), reach)


def _membership(n_genes: int, n_pathways: int, rng: np.random.Generator) -> NDArray[np.float64]:
    membership = np.zeros((n_genes, n_pathways))
    membership[np.arange(n_genes), rng.integers(0, n_pathways, n_genes)] = 1
    second = rng.random(n_genes) < 0.25
    membership[np.flatnonzero(second), rng.integers(0, n_pathways, second.sum())] = 1
    silent = rng.random(n_genes) < 0.1
    membership[silent] = 0
    return membership


def _neighbours(genes: pd.DataFrame) -> NDArray[np.float64]:
    """Return genes × genes, 1 at distance 0 falling to 0 at the reach, 0 across chromosomes and on the diagonal."""
    start = genes["start"].to_numpy(dtype=float)
    chromosome = genes["chromosome"].astype(str).to_numpy()
    near = np.clip(1 - np.abs(start[:, None] - start) / _NEIGHBOUR_REACH, 0, None)
    near *= chromosome[:, None] == chromosome
    np.fill_diagonal(near, 0)
    return near


def noisy_gene_sets(
    membership: NDArray[np.float64], symbols: list[str], rng: np.random.Generator
) -> dict[str, list[str]]:
    """Return the pathways as a database would list them: one true member in seven missing, a few strangers."""
    listed = (membership > 0) & (rng.random(membership.shape) < 0.85)
    listed |= rng.random(membership.shape) < 0.01
    return {
        f"TOY_PATHWAY_{number + 1:02d}": [symbols[gene] for gene in np.flatnonzero(column)]
        for number, column in enumerate(listed.T)
    }
