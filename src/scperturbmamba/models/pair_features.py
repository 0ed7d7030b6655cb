"""What is known of a perturbed gene and a measured gene together, as inputs of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.kernels import Rows, unit
from scperturbmamba.models.knowledge import Knowledge

_FARTHEST = 4.0  # standardised numbers beyond are cut


def pair_features(
    core: Knowledge,
    parts: Sequence[Part],
    said: NDArray[np.float32],
    genes: Sequence[str],
    context: int,
    scale: float,
) -> NDArray[np.float32]:
    """Return (parts × genes × f), in units of a typical effect where it is one.

    What the core ``said`` beside the mean (parts × genes); the mean effect and the spread of effects of the gene;
    whether the gene is the perturbed one; how the gene moves where the perturbed one does, over the training parts but
    the one asked for; and, per feature source, how alike the two genes are. Effects are as they were measured: what the
    core says of one part knows of the others.
    """
    column = {gene: number for number, gene in enumerate(genes)}
    own = np.array([column.get(part.name, -1) for part in parts])
    alone, known = core.measured[context].alone, core.mean(context).astype(np.float64)
    rest = np.array([alone[part] for part in sorted(alone)], np.float64).reshape(len(alone), len(genes)) - known
    shape = said.shape
    found = [
        said / scale,
        np.broadcast_to(known / scale, shape),
        np.broadcast_to(np.sqrt(np.square(rest).mean(0)) / scale, shape),
        np.arange(len(genes)) == own[:, None],
        _moves_with(parts, own, rest, sorted(alone)),
        *(_likeness(vectors, parts, own, genes) for vectors in core.vectors),
    ]
    return np.clip(np.stack(found, axis=-1), -_FARTHEST, _FARTHEST).astype(np.float32)


def _moves_with(parts: Sequence[Part], own: NDArray[np.int64], rest: Rows, known: Sequence[Part]) -> Rows:
    """Return the slope of every gene on the perturbed one over training parts (parts × genes), drawn to 0.

    The rows of the part itself are left out: they would tell its effect.
    """
    result = np.zeros((len(parts), rest.shape[1]))
    row = {part: number for number, part in enumerate(known)}
    square = np.square(rest).sum(0)
    prior = float(np.median(square)) + 1e-12
    for number, (part, column) in enumerate(zip(parts, own)):
        if column < 0:
            continue
        product, total = rest[:, column] @ rest, square[column]
        if part in row:
            mine = rest[row[part]]
            product, total = product - mine[column] * mine, total - mine[column] ** 2
        result[number] = product / (total + prior)
        result[number, column] = 0
    return result


def _likeness(vectors: GeneVectors, parts: Sequence[Part], own: NDArray[np.int64], genes: Sequence[str]) -> Rows:
    """Return the cosine of the features of perturbed and measured genes (parts × genes), 0 of a gene with itself."""
    found: Rows = unit(vectors.take([part.name for part in parts])[0]) @ unit(vectors.take(list(genes))[0]).T
    measured = np.flatnonzero(own >= 0)
    found[measured, own[measured]] = 0
    return found
