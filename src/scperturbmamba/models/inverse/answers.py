"""What is answered: the likeliest set, or "control" where it cannot be told from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.inverse.base import Scores, Sets, membership


@dataclass(frozen=True)
class Answers:
    """One answer per profile.

    Attributes
    ----------
    sets
        The set of candidates that is named; the empty one says "control".
    probability
        (profiles,): of that answer.
    """

    sets: tuple[tuple[int, ...], ...]
    probability: NDArray[np.float64]


def decide(probability: Scores, sets: Sets, detectable: NDArray[np.bool_]) -> Answers:
    """Name the likeliest set of each profile (probabilities are profiles × sets).

    Candidates whose effect does not repeat are indistinguishable from the control: sets that hold no other are one
    answer with it, whose probability is their sum.
    """
    told = np.array([any(detectable[part] for part in one) for one in sets], dtype=bool)
    unseen = np.minimum(probability[:, ~told].sum(1), 1.0)
    if not told.any():
        return Answers(((),) * len(probability), unseen)
    best = np.flatnonzero(told)[probability[:, told].argmax(1)]
    own = probability[np.arange(len(probability)), best]
    named = tuple(() if nothing >= one else tuple(sets[place]) for nothing, one, place in zip(unseen, own, best))
    return Answers(named, np.maximum(unseen, own))


def marginal(probability: Scores, sets: Sets, n_candidates: int) -> Scores:
    """Return the probability (profiles × candidates) that a candidate was perturbed, alone or with others."""
    return probability @ membership(sets, n_candidates)


def best_thresholds(probability: Scores, answer: NDArray[np.int64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (candidates,): the probability from which on a call gives the highest F1 on held-out profiles.

    Parameters
    ----------
    probability
        (profiles × candidates).
    answer
        (profiles,): the right candidate, -1 for the control.
    weight
        (profiles,): how much each counts.
    """
    return np.array([_best(one, answer == place, weight) for place, one in enumerate(probability.T)])


def _best(probability: NDArray[np.float64], true: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    """Return the middle between the last probability that is called and the next below it; 1/2 without an example."""
    if not true.any():
        return 0.5
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    hits, called = np.cumsum((weight * true)[order]), np.cumsum(weight[order])
    f1 = 2 * hits / (called + (weight * true).sum())
    last = np.append(ranked[1:] < ranked[:-1], True)  # calls of equal probability go together
    place = int(np.where(last, f1, -1).argmax())
    below = ranked[place + 1] if place + 1 < len(ranked) else 0.0
    return float((ranked[place] + below) / 2)
