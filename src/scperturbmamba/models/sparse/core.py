"""The two levels of one context, gated, and read for new perturbations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.engine.pair_net import PairNet, correction
from scperturbmamba.models.sparse.axes import Axes
from scperturbmamba.models.sparse.evidence import Evidence
from scperturbmamba.models.sparse.folds import OutOfFold
from scperturbmamba.models.sparse.gate import Gain
from scperturbmamba.models.sparse.labels import Base, Labels, log_odds
from scperturbmamba.models.sparse.likeness import Likeness
from scperturbmamba.models.sparse.pairs import Moments, dense, pair_numbers
from scperturbmamba.models.sparse.spread import Spread
from scperturbmamba.models.uncertainty import LEVELS

_FEWEST = 10  # perturbations with features below which nothing is learned
_NETS = 5
_CHUNK = 500_000  # pairs whose numbers are held at once
_MEASURED = 0.999  # what a measured call is taken for

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Learned:
    """Both levels, fitted to all training perturbations.

    Attributes
    ----------
    evidence
        Level one.
    moments
        Of the numbers of the training pairs.
    weights
        Of the scores of level one, and the intercept.
    nets
        The pair networks; none where cross-validation does not support them.
    """

    evidence: Evidence
    moments: Moments
    weights: Rows
    nets: tuple[PairNet, ...]

    def change(self, names: Sequence[str], likeness: Likeness, genes: Sequence[str]) -> dict[str, Rows]:
        """Return what stack and networks add to the base scores of new perturbations (new × genes each)."""
        shape = (len(names), len(genes))
        numbers = self.moments.standardise(dense(pair_numbers(self.evidence, likeness, names, genes), shape))
        n_scores = len(self.weights) - 1
        found = {"stack": (numbers[:, :n_scores] @ self.weights[:-1] + self.weights[-1]).reshape(shape)}
        if self.nets:
            found["pair network"] = correction(self.nets, torch.from_numpy(numbers)).numpy().reshape(shape)
        return found


@dataclass(frozen=True)
class Core:
    """What was learned of one context.

    Attributes
    ----------
    labels
        Known entries.
    base
        What is expected of each readout gene.
    learned
        None where there are few perturbations with features, or the stack is not surely better than the base rates.
    gains
        What the stack gains over the base rates, and stack and networks over the stack, as far as they were compared.
    spreads
        How far effects may be off that features tell, and those that are the base rates; none of calls, and the last
        alone where nothing was learned.
    """

    labels: Labels
    base: Base
    learned: Learned | None = None
    gains: tuple[Gain, ...] = ()
    spreads: tuple[Spread, ...] = ()

    @classmethod
    def fit(cls, labels: Labels, likeness: Likeness, genes: Sequence[str], random_state: int) -> Self:
        """Fit both levels; a perturbation of which no feature is known tells of the base rates only."""
        base = Base.of(labels)
        has_entries = np.bincount(labels.row, minlength=len(labels.parts)) > 0
        has_features = likeness.knows([part.name for part in labels.parts])
        described = labels.take(np.flatnonzero(has_entries & has_features))
        around = () if base.are_calls else (Spread.around(labels, base),)
        if len(described.parts) < _FEWEST:
            return cls(labels, base, spreads=around)
        rng = np.random.default_rng(random_state)
        axes = Axes.of(likeness, [part.name for part in described.parts], genes)
        pairs = OutOfFold.of(described, likeness, genes, axes, rng)
        stack, nets = pairs.cross_validated(random_state)
        gains = (pairs.gain(stack, np.zeros_like(stack)), pairs.gain((stack + nets) / np.float32(2), stack))
        if not gains[0].is_sure:
            return cls(labels, base, None, gains[:1], around)
        everything = slice(None)
        kept = pairs.networks(everything, random_state, _NETS) if gains[1].is_sure else []
        evidence = Evidence.fit(described, likeness, axes, rng)
        said = (stack + nets) / np.float32(2) if kept else stack
        told = () if base.are_calls else (Spread.of(pairs.labels, pairs.errors(said)),)
        learned = Learned(evidence, pairs.moments, pairs.stack(everything), tuple(kept))
        return cls(labels, base, learned, gains, told + around)

    def scores(self, parts: Sequence[Part], likeness: Likeness, genes: Sequence[str]) -> dict[str, Rows]:
        """Return scores of parts (parts × genes), ``"stack"``, and ``"chosen"``, the one to be used.

        A part without features has the base scores; what was measured of a part is taken as it was measured.
        """
        names = [part.name for part in parts]
        known = np.flatnonzero(likeness.knows(names)) if self.learned else np.zeros(0, np.int64)
        found = {kind: np.tile(self.base.score(), (len(parts), 1)) for kind in ("stack", "chosen")}
        size = max(1, _CHUNK // len(genes))
        for begin in range(0, len(known), size):
            some = known[begin : begin + size]
            change = self.learned.change([names[row] for row in some], likeness, genes) if self.learned else {}
            found["stack"][some] += self.base.scale() * change["stack"]
            found["chosen"][some] += self.base.scale() * np.mean(list(change.values()), axis=0)
        for one in found.values():
            self._put_measured(one, parts)
        return found

    def errors(self, parts: Sequence[Part], likeness: Likeness) -> tuple[Rows, Rows]:
        """Return standard deviations of parts (parts × genes), and how many of them hold each level (parts × levels).

        They are NaN of calls, and of what was measured, whose noise is not known.
        """
        sd = np.full((len(parts), self.labels.n_genes), np.nan, np.float32)
        multiples = np.full((len(parts), len(LEVELS)), np.nan, np.float32)
        if self.spreads:
            known = likeness.knows([part.name for part in parts])
            for row, is_known in enumerate(known):
                one = self.spreads[0 if is_known else -1]
                sd[row], multiples[row] = one.sd, one.multiples
            rows, inside = self._measured(parts)
            sd[rows, self.labels.column[inside]] = np.nan
        return sd, multiples

    def words(self) -> str:
        """Return in words what is used, and what it is expected to gain."""
        if not self.gains:
            return f"acts as the mean per gene: fewer than {_FEWEST} perturbations have features"
        over_base = f"{self.gains[0].words()} over the mean per gene, on perturbations left out"
        if self.learned is None:
            return f"acts as the mean per gene: the stack gains {over_base}"
        over_stack = self.gains[1].words()
        if not self.learned.nets:
            return f"the stack is on: {over_base}; the pair network is off: {over_stack}"
        return f"the stack is on: {over_base}; the pair network is on: {over_stack} more"

    def _put_measured(self, scores: Rows, parts: Sequence[Part]) -> None:
        rows, inside = self._measured(parts)
        value = self.labels.value[inside]
        if self.base.are_calls:
            value = log_odds(np.where(value > 0, _MEASURED, 1 - _MEASURED)).astype(np.float32)
        scores[rows, self.labels.column[inside]] = value

    def _measured(self, parts: Sequence[Part]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the rows of measured entries among parts, and which entries these are."""
        place = {part: row for row, part in enumerate(parts)}
        rows = np.array([place.get(part, -1) for part in self.labels.parts], np.int64)[self.labels.row]
        return rows[rows >= 0], rows >= 0
