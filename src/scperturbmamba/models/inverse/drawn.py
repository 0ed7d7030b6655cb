"""Profiles with labels, and which of them are drawn how often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.models.inverse.base import Profiles


@dataclass(frozen=True)
class Drawn:
    """Profiles and what was perturbed in them.

    Attributes
    ----------
    x
        (profiles × genes): mean log-normalised expression.
    y
        (profiles × candidates): 1 where a candidate was perturbed; a row of zeros is a control.
    n_cells
        (profiles,): number of cells whose noise the profile has.
    """

    x: Profiles
    y: NDArray[np.float32]
    n_cells: NDArray[np.int64]


@dataclass(frozen=True)
class Shares:
    """What profiles are drawn.

    Attributes
    ----------
    doubles, controls
        Share of synthetic pairs and of control profiles; the rest are measured conditions, each as often.
    cells
        Most cells of a profile; their numbers are even in the log.
    """

    doubles: float
    controls: float
    cells: int

    def kinds(
        self, n: int, rng: np.random.Generator, *, doubles: bool, controls: bool
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return (profiles,) which are pairs, and which are controls, of the kinds that can be had."""
        toss = rng.random(n)
        is_double = (toss < self.doubles) & doubles
        return is_double, (toss >= 1 - self.controls) & controls

    def numbers_of_cells(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return (profiles,) from 1 to ``cells``."""
        return np.exp(rng.uniform(0, np.log(self.cells + 1), n)).astype(np.int64)


def multi_hot(data: InverseData) -> NDArray[np.float32]:
    """Return conditions × candidates: 1 where a candidate is a part of the condition."""
    place = {part: number for number, part in enumerate(data.candidates)}
    labels = np.zeros((len(data.conditions), len(data.candidates)), np.float32)
    for row, condition in enumerate(data.conditions):
        labels[row, [place[part] for part in condition.parts if part in place]] = 1
    return labels
