"""What a trained model says of held-out units, and how right it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scperturbmamba import metrics
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.units import Units
from scperturbmamba.models.inverse.answers import decide, marginal
from scperturbmamba.models.inverse.base import score_sets
from scperturbmamba.models.inverse.pairs import sets_of
from scperturbmamba.tl._inverse_stored import Inverse

Rows = NDArray[np.float64]
_Metric = Callable[[NDArray[Any], Rows], Rows]
SEEN: Final = {1: {0: "none", 1: "single"}, 2: {0: "none", 1: "one", 2: "both"}}
_RANKED: Final[dict[str, _Metric]] = {
    "top1": lambda truth, scores: metrics.hit_at_k(truth, scores, k=1),
    "top5": lambda truth, scores: metrics.hit_at_k(truth, scores, k=5),
    "top10": lambda truth, scores: metrics.hit_at_k(truth, scores, k=10),
    "mrr": metrics.reciprocal_rank,
}
_MORE: Final[dict[str, _Metric]] = {
    "hit1": lambda truth, scores: metrics.hit_at_k(truth, scores, k=1),
    "recall2": lambda truth, scores: metrics.recall_at_k(truth, scores, k=2),
    "recall5": lambda truth, scores: metrics.recall_at_k(truth, scores, k=5),
    "ndcg10": lambda truth, scores: metrics.ndcg_at_k(truth, scores, k=10),
}


@dataclass(frozen=True)
class Judged:
    """Held-out units under one model.

    Attributes
    ----------
    rows
        A row per unit: ``condition``, ``seen``, ``size``, ``first`` (the best by score), ``inferred``,
        ``confidence``, ``correct``.
    values, chance
        (units,) per metric: the score, and that of scores that are all the same.
    truth, called
        (units × candidates): which candidates were perturbed, and which are called by their thresholds.
    candidates
        Their labels.
    n_candidates
        Answers that were ranked.
    """

    rows: pd.DataFrame
    values: dict[str, Rows]
    chance: dict[str, Rows]
    truth: NDArray[np.bool_]
    called: NDArray[np.bool_]
    candidates: tuple[str, ...]
    n_candidates: int


def judge_singles(trained: Inverse, units: Units, conditions: Sequence[Condition], sizes: Sequence[str]) -> Judged:
    """Rank the singles for each unit, the control among the answers."""
    n = len(trained.candidates)
    sets = sets_of(range(n))
    scores = score_sets(trained.model, units.x, units.n_cells, sets)
    probability = trained.probabilities(scores, sets, units.n_cells)
    told = trained.posterior.detectable
    answers = decide(probability, sets, told)
    truth = _truth(trained, units, conditions)
    merged = [tuple(place for place in np.flatnonzero(row) if told[place]) for row in truth]
    rows = _rows(trained, units, conditions, sizes)
    rows["inferred"] = [trained.label(one) for one in answers.sets]
    rows["confidence"] = answers.probability
    rows["correct"] = [one == right for one, right in zip(answers.sets, merged)]
    ranked = scores[:, 1:]
    rows["first"] = [trained.label((int(one),)) for one in ranked.argmax(1)]
    values = {name: function(truth, ranked) for name, function in {**_RANKED, **_MORE}.items()}
    chance = {name: function(truth, np.zeros_like(ranked)) for name, function in {**_RANKED, **_MORE}.items()}
    called = marginal(probability, sets, n) >= trained.posterior.thresholds
    return Judged(rows, values, chance, truth, called, _names(trained), n)


def judge_doubles(trained: Inverse, units: Units, conditions: Sequence[Condition], sizes: Sequence[str]) -> Judged:
    """Rank the pairs for each unit, known to be of one; where a part was never seen, only the parts can be right."""
    n = len(trained.candidates)
    sets = sets_of(range(n), fewest=2, most=2)
    scores = score_sets(trained.model, units.x, units.n_cells, sets)
    probability = trained.probabilities(scores, sets, units.n_cells)
    truth = _truth(trained, units, conditions)
    place = {one: number for number, one in enumerate(sets)}
    right = np.zeros(scores.shape, dtype=bool)
    for row, parts in enumerate(truth):
        pair = tuple(int(one) for one in np.flatnonzero(parts))
        if pair in place:
            right[row, place[pair]] = True
    best = scores.argmax(1)
    rows = _rows(trained, units, conditions, sizes)
    rows["inferred"] = rows["first"] = [trained.label(sets[one]) for one in best]
    rows["confidence"] = probability.max(1)
    rows["correct"] = right[np.arange(len(best)), best]
    named = np.zeros(truth.shape, dtype=bool)
    for row, one in enumerate(best):
        named[row, list(sets[one])] = True
    parts_score = marginal(probability, sets, n)
    values = {name: function(right, scores) for name, function in _RANKED.items()}
    chance = {name: function(right, np.zeros_like(scores)) for name, function in _RANKED.items()}
    values |= {name: function(truth, parts_score) for name, function in _MORE.items()}
    chance |= {name: function(truth, np.zeros_like(parts_score)) for name, function in _MORE.items()}
    values["at_least_one"] = metrics.at_least_one(truth, named)
    chance["at_least_one"] = np.where(truth.any(1), _chance_of_one(truth.sum(1), n), np.nan)
    called = parts_score >= trained.posterior.thresholds
    return Judged(rows, values, chance, truth, called, _names(trained), len(sets))


def _chance_of_one(n_right: NDArray[np.int64], n: int) -> Rows:
    """Return how often a pair drawn at random holds at least one of the right candidates."""
    left = n - n_right
    return np.asarray(1 - left * (left - 1) / (n * (n - 1)), dtype=np.float64)


def _names(trained: Inverse) -> tuple[str, ...]:
    return tuple(part.label for part in trained.candidates)


def _truth(trained: Inverse, units: Units, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
    inside = np.array([[part in one.parts for part in trained.candidates] for one in conditions], dtype=bool)
    return inside[units.group]


def _rows(trained: Inverse, units: Units, conditions: Sequence[Condition], sizes: Sequence[str]) -> pd.DataFrame:
    known = set(trained.candidates)
    seen = [SEEN[len(one.parts)][len(known & set(one.parts))] if one.parts else "control" for one in conditions]
    return pd.DataFrame(
        {
            "condition": [conditions[group].label for group in units.group],
            "seen": [seen[group] for group in units.group],
            "size": [sizes[place] for place in units.size],
        }
    )
