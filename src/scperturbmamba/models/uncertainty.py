"""How far predictions may be off: noise of what was measured, errors on genes left out, spread of the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.part_effects import parts_of_state, parts_state
from scperturbmamba.models.shrinkage import Prior, cell_noise

_FEWEST = 8  # rows left out below which errors tell nothing
_PRIOR_ROWS = 10  # rows that the error common to all genes is worth
_BINS = 3  # of likeness to the nearest training gene
LEVELS = tuple(round(0.01 * step, 2) for step in range(1, 100))


@dataclass(frozen=True)
class LeftOut:
    """Genes that were predicted without their own cells, in one context.

    Attributes
    ----------
    errors
        (parts × genes): measured less predicted.
    nearest
        (parts,): likeness of the most alike training gene.
    alone
        (parts,): whether a part was left out alone, and other doses or contexts of it were seen.
    """

    errors: Rows
    nearest: Rows
    alone: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def expected(self, noise: Rows) -> Rows | None:
        """Return the variance (genes,) of what is said of a part by other doses and contexts; None if it is not known.

        It is that of the errors less their noise (genes,), not below a tenth of it.
        """
        if self.alone.sum() < _FEWEST:
            return None
        e2 = np.square(self.errors[self.alone])
        square = (e2.sum(0) + _PRIOR_ROWS * e2.mean()) / (len(e2) + _PRIOR_ROWS)
        return np.asarray(np.maximum(square - noise, 0.1 * square), np.float64)


@dataclass(frozen=True)
class Errors:
    """What a new gene's prediction is off by, from genes left out.

    Attributes
    ----------
    square
        (genes,): mean squared error, drawn to what all genes have in common.
    edges, size
        Bins of likeness to the nearest training gene, and the squared error in each over the mean.
    multiples
        (levels,): how many standard deviations hold that share of the errors.
    """

    square: Rows
    edges: Rows
    size: Rows
    multiples: Rows

    @classmethod
    def fit(cls, left_out: LeftOut) -> Self:
        """Learn from genes left out; with few of them the likeness is not looked at."""
        e2 = np.square(left_out.errors)
        n = len(e2)
        square = (e2.sum(0) + _PRIOR_ROWS * e2.mean()) / (n + _PRIOR_ROWS) + 1e-12
        bins = _BINS if n >= 10 * _BINS else 1
        edges = np.quantile(left_out.nearest, np.arange(1, bins) / bins)
        place = np.searchsorted(edges, left_out.nearest)
        relative = (e2 / square).mean(1)
        size = np.array([relative[place == one].mean() if (place == one).any() else 1.0 for one in range(bins)])
        scores = np.abs(left_out.errors) / np.sqrt(square * size[place, None] + 1e-12)
        return cls(square, edges, size, multiples_of(scores, n))

    def variance(self, nearest: Rows) -> Rows:
        """Return the variance of new genes of a likeness (parts × genes)."""
        return np.asarray(self.size[np.searchsorted(self.edges, nearest)][:, None] * self.square, np.float64)


@dataclass(frozen=True)
class Uncertainty:
    """Variances of predictions in one context.

    Attributes
    ----------
    errors
        Those of new genes; None where too few were left out to tell.
    noise, kept
        Per part seen alone, (genes,): sampling variance of its mean, and how far shrinkage believed it.
    typical
        (genes,): sampling variance of a condition as deep as the training ones.
    combined
        How many times larger the squared errors of training combinations are than these variances say; 1 at least.
    """

    errors: Errors | None
    noise: dict[Part, Rows]
    kept: dict[Part, Rows]
    typical: Rows
    combined: float = 1.0

    @classmethod
    def fit(
        cls,
        data: Bundle,
        context: int,
        left_out: LeftOut | None,
        predicted: Mapping[int, Rows],
        around: Mapping[Part, Rows] | None = None,
    ) -> Self:
        """Learn from the training rows of a context.

        ``predicted`` are the effects that are said of training combinations whose parts were all seen alone, by row;
        ``around`` is the variance of a measurement of every part, where it is more than the noise of its cells.
        """
        noise = cell_noise(data)
        rows = data.training()
        rows = rows[np.isfinite(noise[rows]).all(1)]
        here = rows[data.context[rows] == context]
        if not len(here) and len(rows):  # a context of which only the control is known
            return cls(_errors_of(left_out), {}, {}, np.median(noise[rows], axis=0))
        rows = here
        single = rows[[len(data.conditions[row].parts) == 1 for row in rows]] if len(rows) else rows
        errors = _errors_of(left_out)
        width = data.delta.shape[1]
        if len(single) < 3:
            return cls(errors, {}, {}, np.full(width, np.nan))
        by_part = {data.conditions[row].parts[0]: noise[row] for row in single}
        by_part = {part: np.maximum(one, (around or {}).get(part, one)) for part, one in by_part.items()}
        expected = left_out.expected(np.mean(list(by_part.values()), axis=0)) if left_out is not None else None
        if expected is None:
            expected = Prior.of(data.delta[single].astype(np.float64), noise[single]).variance
        kept = {part: expected / (expected + one + 1e-12) for part, one in by_part.items()}
        typical = np.median(list(by_part.values()) if around else noise[rows], axis=0)
        found = cls(errors, by_part, kept, typical)
        heard = [row for row in predicted if row in set(rows.tolist())]
        if len(heard) < _FEWEST:
            return found
        off = np.square(np.array([data.delta[row] - predicted[row] for row in heard]))
        told = found.variance([data.conditions[row] for row in heard], {}, np.zeros((0, 0)))
        return cls(errors, by_part, kept, found.typical, max(1.0, float(np.mean(off / (told + 1e-12)))))

    def of_new(self, nearest: Rows) -> Rows:
        """Return the variance of new genes, by their likeness to the nearest training gene (parts × genes)."""
        if self.errors is None:
            return np.full((len(nearest), len(self.typical)), np.nan)
        return self.errors.variance(nearest)

    def variance(self, conditions: Sequence[Condition], new: Mapping[Part, int], of_new: Rows) -> Rows:
        """Return the variance (conditions × genes) of a measurement as deep as those of the training screen.

        ``new`` says which row of ``of_new`` (parts × genes), a variance, belongs to a part never seen alone; that of a
        seen part is what shrinkage leaves of its noise.
        """
        result = np.zeros((len(conditions), len(self.typical)))
        for row, condition in enumerate(conditions):
            for part in condition.parts:
                seen = self.kept[part] * self.noise[part] if part in self.noise else self.typical
                result[row] += of_new[new[part]] if part in new else seen
            if condition.parts and not any(part in new for part in condition.parts):
                result[row] += self.typical  # the cells of the new measurement
                result[row] *= self.combined if len(condition.parts) > 1 else 1.0
        return result

    def multiples(self, *, seen: bool) -> NDArray[np.float64]:
        """Return how many standard deviations hold each of the levels."""
        if seen or self.errors is None:
            return np.asarray(norm.ppf(0.5 + np.array(LEVELS) / 2), np.float64)
        return self.errors.multiples

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        arrays: dict[str, NDArray[Any]] = {"typical": self.typical}
        if self.errors is not None:
            arrays |= {name: getattr(self.errors, name) for name in ("square", "edges", "size", "multiples")}
        if self.noise:
            arrays["noise"] = np.array(list(self.noise.values()), np.float32)
            arrays["kept"] = np.array(list(self.kept.values()), np.float32)
        return {"parts": parts_state(self.noise), "combined": self.combined}, arrays

    @classmethod
    def from_state(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        names = ("square", "edges", "size", "multiples")
        errors = Errors(*(arrays[name] for name in names)) if "square" in arrays else None
        parts = parts_of_state(words["parts"])
        noise, kept = (dict(zip(parts, arrays.get(name, ()))) for name in ("noise", "kept"))
        return cls(errors, noise, kept, arrays["typical"], words["combined"])


def multiples_of(scores: Rows, n: int) -> Rows:
    """Return how many standard deviations hold each level of the errors of n perturbations, and of one more."""
    return np.asarray(np.quantile(scores, np.minimum(np.array(LEVELS) * (1 + 1 / n), 1.0)), np.float64)


def _errors_of(left_out: LeftOut | None) -> Errors | None:
    return Errors.fit(left_out) if left_out is not None and len(left_out.errors) >= _FEWEST else None
