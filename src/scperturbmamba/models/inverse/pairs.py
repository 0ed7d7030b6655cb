"""Search the sets of candidates that may have been perturbed: none, one, two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.inverse.base import InverseModel, Profiles, Scores, Sets, score_sets

MOST_PARTS = 2
_AT_ONCE = 512  # profiles


@dataclass(frozen=True)
class Searched:
    """What was considered for some profiles.

    Attributes
    ----------
    rows
        (profiles,): their places.
    sets
        Sets of candidates, each a sorted tuple of places; the empty one is the control.
    scores
        (profiles × sets).
    """

    rows: NDArray[np.int64]
    sets: Sets
    scores: Scores


def sets_of(candidates: Sequence[int], *, fewest: int = 0, most: int = 1) -> list[tuple[int, ...]]:
    """Return every set of ``fewest`` to ``most`` candidates, the smallest first, each once and sorted."""
    ordered = sorted(set(candidates))
    return [one for size in range(fewest, most + 1) for one in combinations(ordered, size)]


def search(
    model: InverseModel,
    x: Profiles,
    n_cells: NDArray[np.int64],
    *,
    n_candidates: int,
    fewest: int = 0,
    most: int = 1,
    max_candidates: int = 50,
) -> Iterator[Searched]:
    """Score the sets of each profile: all singles, then the pairs among the ``max_candidates`` best of them.

    Where there are no more candidates than that, all pairs are scored for all profiles at once.
    """
    all_pairs = most < MOST_PARTS or n_candidates <= max_candidates
    for start in range(0, len(x), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(x)))
        if all_pairs:
            sets = sets_of(range(n_candidates), fewest=fewest, most=most)
            yield Searched(rows, sets, score_sets(model, x[rows], n_cells[rows], sets))
            continue
        single = score_sets(model, x[rows], n_cells[rows], sets_of(range(n_candidates), fewest=1))
        for row, scores in zip(rows, single):
            yield _beam(model, x, n_cells, int(row), scores, fewest=fewest, width=max_candidates)


def _beam(
    model: InverseModel, x: Profiles, n_cells: NDArray[np.int64], row: int, single: Scores, *, fewest: int, width: int
) -> Searched:
    """Score the pairs among the best singles of one profile, beside all singles."""
    best = [int(one) for one in np.argsort(-single, kind="stable")[:width]]
    pairs = sets_of(best, fewest=MOST_PARTS, most=MOST_PARTS)
    smaller = sets_of(range(len(single)), fewest=fewest, most=MOST_PARTS - 1)
    rows = np.array([row])
    found = score_sets(model, x[rows], n_cells[rows], [*smaller, *pairs])
    return Searched(rows, [*smaller, *pairs], found)
