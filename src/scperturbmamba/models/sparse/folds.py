"""Scores of level one for perturbations that had no part in them, and level two fitted to these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from scperturbmamba._settings import settings
from scperturbmamba.engine.pair_net import PairNet, correction, fit_pair_nets
from scperturbmamba.models.sparse.axes import Axes
from scperturbmamba.models.sparse.evidence import Evidence
from scperturbmamba.models.sparse.gate import Gain
from scperturbmamba.models.sparse.labels import Labels
from scperturbmamba.models.sparse.likeness import Likeness
from scperturbmamba.models.sparse.pairs import Moments, at, pair_numbers
from scperturbmamba.models.sparse.weigh import weigh

_FOLDS = 5
_MOST = 200_000  # entries that level two reads; more are drawn from

Rows = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class OutOfFold:
    """Numbers of the known entries, each from level one without the perturbation.

    Attributes
    ----------
    labels
        The known entries, or a sample of them where there are very many.
    fold
        (entries,): fold of the perturbation.
    numbers
        (entries × numbers), standardised; the scores of level one come first.
    n_scores
        How many of them are scores of level one.
    moments
        Of the numbers.
    start
        (entries,): log-odds of the base rate for calls, 0 for effects.
    target
        (entries,): calls as they are; effects minus the mean of the gene, in its spreads.
    spread
        (entries,): what a spread is on the scale of the table.
    """

    labels: Labels
    fold: NDArray[np.int64]
    numbers: Rows
    n_scores: int
    moments: Moments
    start: Rows
    target: Rows
    spread: Rows

    @classmethod
    def of(cls, labels: Labels, likeness: Likeness, genes: Sequence[str], axes: Axes, rng: np.random.Generator) -> Self:
        """Fit level one once per fold."""
        number = rng.permutation(len(labels.parts)) % _FOLDS
        everything, labels = labels, labels.sample(_MOST, rng)
        rows: list[Rows] = []
        start, target, spread = np.zeros((3, len(labels.row)), np.float32)
        entries = [np.flatnonzero(number[labels.row] == fold) for fold in range(_FOLDS)]
        for fold, mine in enumerate(_told(entries, "level one, out of fold")):
            rest = everything.take(np.flatnonzero(number != fold))
            evidence = Evidence.fit(rest, likeness, axes, rng)
            held = np.flatnonzero(number == fold)
            found = pair_numbers(evidence, likeness, [labels.parts[row].name for row in held], genes)
            rows.append(at(found, np.searchsorted(held, labels.row[mine]), labels.column[mine]))
            column, base = labels.column[mine], evidence.base
            start[mine] = base.score()[column] if labels.are_calls else 0
            target[mine] = labels.value[mine] - (0 if labels.are_calls else base.mean[column])
            spread[mine] = base.scale()[column]
        raw = np.empty((len(labels.row), rows[0].shape[1]), np.float32)
        for mine, one in zip(entries, rows):
            raw[mine] = one
        moments = Moments.of(raw)
        n_scores = evidence.n_scores(likeness)
        return cls(
            labels, number[labels.row], moments.standardise(raw), n_scores, moments, start, target / spread, spread
        )

    def cross_validated(self, seed: int) -> tuple[Rows, Rows]:
        """Return what stack and networks, fitted without the fold of an entry, add to its start (entries,)."""
        stack, nets = np.zeros((2, len(self.fold)), np.float32)
        for fold in _told(range(_FOLDS), "level two, out of fold"):
            mine, rest = self.fold == fold, np.flatnonzero(self.fold != fold)
            weights = self.stack(rest)
            stack[mine] = self.numbers[mine, : self.n_scores] @ weights[:-1] + weights[-1]
            nets[mine] = correction(self.networks(rest, seed, 1), torch.from_numpy(self.numbers[mine])).numpy()
        return stack, nets

    def stack(self, entries: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float32]:
        """Return weights of the scores that are not negative, and an intercept, fitted to some entries."""
        x, start, target = self.numbers[entries, : self.n_scores], self.start[entries], self.target[entries]
        weight = self.labels.weight[entries]
        return weigh(x, start, target, weight, are_calls=self.labels.are_calls).astype(np.float32)

    def networks(self, entries: NDArray[np.int64] | slice, seed: int, n_nets: int) -> list[PairNet]:
        """Return pair networks fitted to some entries."""
        found = (self.numbers, self.start, self.target, self.labels.weight)
        x, start, target, weight = (torch.from_numpy(one[entries]) for one in found)
        calls = self.labels.are_calls
        return fit_pair_nets(x, start, target, weight, are_calls=calls, n_nets=n_nets, seed=seed)

    def errors(self, said: Rows) -> Rows:
        """Return effects less what was said of them out of fold (entries,), on the scale of the table."""
        return (self.target - said) * self.spread

    def gain(self, new: Rows, old: Rows) -> Gain:
        """Compare two scores of the entries, less their start."""
        if self.labels.are_calls:
            group = self.fold * self.labels.n_genes + self.labels.column
            return Gain.of_calls(group, self.labels.row, self.labels.value, self.start + new, self.start + old)
        return Gain.of_effects(self.labels.row, self.target, self.labels.weight, new, old)


def _told(steps: Sequence[T], what: str) -> Iterable[T]:
    """Return the steps, with a bar that shows how far they are."""
    found: Iterable[T] = tqdm(steps, desc=what, unit="fold", disable=not settings.progress, leave=False)
    return found
