"""Measured and predicted effects of held-out conditions, and what models leave of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Effects = NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """Measured and predicted effects of held-out conditions.

    Attributes
    ----------
    rows
        A row per condition; ``unit`` is what a bootstrap draws, such as the drug.
    truth, said
        (rows × genes), by model.
    """

    rows: pd.DataFrame
    truth: Effects
    said: dict[str, Effects]

    @classmethod
    def of(cls, parts: Sequence[Judged]) -> Judged:
        """Return the rows of several, one below the other."""
        names = parts[0].said
        said = {name: np.concatenate([one.said[name] for one in parts]) for name in names}
        return cls(pd.concat([one.rows for one in parts]), np.concatenate([one.truth for one in parts]), said)

    def take(self, some: NDArray[np.integer]) -> Judged:
        """Return some of the rows."""
        return Judged(self.rows.iloc[some], self.truth[some], {name: one[some] for name, one in self.said.items()})

    def where(self, keep: NDArray[np.bool_]) -> Judged:
        """Return the rows that are to be kept."""
        return self.take(np.flatnonzero(keep))

    def left(self, name: str) -> float:
        """Return the squares that a model leaves."""
        return float(np.square(self.truth - self.said[name], dtype=np.float64).sum())

    def r2(self, name: str) -> float:
        """Return the share of the squares of the truth that a model takes away."""
        return 1 - self.left(name) / float(np.square(self.truth, dtype=np.float64).sum())

    def gain(self, name: str, other: str) -> float:
        """Return the share of what another model leaves that a model takes away."""
        return 1 - self.left(name) / self.left(other)

    def interval(self, number: Callable[[Judged], float], draws: int = 500) -> str:
        """Return the bootstrap interval of a number over units, 95 %."""
        units = self.rows["unit"].to_numpy()
        places = [np.flatnonzero(units == unit) for unit in np.unique(units)]
        rng = np.random.default_rng(0)
        drawn = (
            np.concatenate([places[one] for one in rng.integers(0, len(places), len(places))]) for _ in range(draws)
        )
        low, high = np.quantile([number(self.take(some)) for some in drawn], [0.025, 0.975])
        return f"({low:+.3f} to {high:+.3f})"
