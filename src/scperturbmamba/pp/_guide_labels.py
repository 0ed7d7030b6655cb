"""Turn called guides into the guide identity and the canonical target label of each cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba._keys import CONTROL
from scperturbmamba.data.conditions import Condition

_SEPARATORS = ("+", "|", ";")


@dataclass(frozen=True)
class GuideLabels:
    """Per cell: the guides, how many, the target; and a table of the combinations that occur."""

    identity: pd.Categorical
    n_guides: NDArray[np.int64]
    target: pd.Categorical
    combinations: pd.DataFrame
    separator: str

    def shares(self) -> dict[str, float]:
        """Return the shares of cells with no guide, undecided, with one target, with more than one."""
        n_targets = pd.Series(self.identity).map(self.combinations["n_targets"]).to_numpy(dtype=float)
        without = self.target.isna()
        return {
            "without a guide": float((self.n_guides == 0).mean()),
            "undecided": float((without & (self.n_guides > 0)).mean()),
            "of one target": float((n_targets == 1).mean()),
            "of several": float((n_targets > 1).mean()),
        }


def label_cells(carried: sp.csr_matrix, possible: sp.csr_matrix, guides: list[str], targets: list[str]) -> GuideLabels:
    """Label each cell by the guides it carries, where those that are possible beside them would not add a target.

    Parameters
    ----------
    carried, possible
        Cells × guides, boolean: the guides called, and those with the ones that are not ruled out.
    guides, targets
        Name and target of each guide.
    """
    separator = next((mark for mark in _SEPARATORS if not any(mark in name for name in guides)), _SEPARATORS[0])
    sure = _sets(carried)
    units = _units(sure, guides, targets)
    decided = _same_units(carried, possible, units) & np.array([bool(one) for one in sure])
    kinds = {one: number for number, one in enumerate(sorted({one for one, ok in zip(sure, decided) if ok}))}
    code = np.array([kinds[one] if ok else -1 for one, ok in zip(sure, decided)], dtype=np.int64)
    combinations = pd.DataFrame(
        {
            "n_guides": [len(one) for one in kinds],
            "n_targets": [len({units[guide] for guide in one}) for one in kinds],
            "target": [_condition({targets[guide] for guide in one}) for one in kinds],
            "n_cells": np.bincount(code[code >= 0], minlength=len(kinds)),
        },
        index=[separator.join(guides[guide] for guide in one) for one in kinds],
    )
    target = combinations["target"].to_numpy(dtype=object)
    return GuideLabels(
        identity=pd.Categorical.from_codes(code, categories=combinations.index),
        n_guides=np.where(code >= 0, np.diff(carried.indptr), np.diff(possible.indptr)).astype(np.int64),
        target=pd.Categorical([target[one] if one >= 0 else np.nan for one in code]),
        combinations=combinations,
        separator=separator,
    )


def _sets(table: sp.csr_matrix) -> list[tuple[int, ...]]:
    """Return the marked columns of each row."""
    table = table.sorted_indices()
    indices = table.indices.tolist()
    return [tuple(indices[start:end]) for start, end in zip(table.indptr[:-1], table.indptr[1:])]


def _units(sure: list[tuple[int, ...]], guides: list[str], targets: list[str]) -> list[str]:
    """Return what each guide counts as: its target; a non-targeting guide itself, unless controls carry several.

    Where most control cells carry several non-targeting guides, they come on one vector and are one target.
    """
    is_control = [target == CONTROL for target in targets]
    per_cell = [len(one) for one in sure if one and all(is_control[guide] for guide in one)]
    if per_cell and np.median(per_cell) > 1:
        return targets
    return [f"{CONTROL} {guide}" if alone else target for guide, target, alone in zip(guides, targets, is_control)]


def _same_units(carried: sp.csr_matrix, possible: sp.csr_matrix, units: list[str]) -> NDArray[np.bool_]:
    """Tell in which cells the possible guides count as nothing that the carried ones do not."""
    names, code = np.unique(units, return_inverse=True)
    to_unit = sp.csr_matrix((np.ones(len(code)), (np.arange(len(code)), code)), shape=(len(code), len(names)))
    n_sure = np.diff((carried.astype(float) @ to_unit).indptr)
    n_possible = np.diff((possible.astype(float) @ to_unit).indptr)
    return n_sure == n_possible


def _condition(targets: set[str]) -> str:
    """Return the canonical label of targets; the control shows only where it is alone."""
    return Condition.of(*(target for target in targets if target != CONTROL)).label
