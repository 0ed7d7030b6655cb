"""Count the targets of each cell, and tell an accident from a design."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition

_FEWEST = 10
_TIMES_CHANCE = 5.0


def targets_per_cell(adata: AnnData) -> NDArray[np.int64]:
    """Return the number of targets of each cell: of its guides where they were assigned, else of its label.

    An unlabelled cell has none.
    """
    parts = adata.obs[_keys.N_PARTS].to_numpy(dtype=np.int64).clip(min=0)
    if not has_guides(adata):
        return parts
    table = adata.uns[_keys.GUIDES]["combinations"]
    n_targets = adata.obs[_keys.GUIDE_IDENTITY].astype(object).map(table["n_targets"])
    return np.maximum(n_targets.fillna(0).to_numpy(dtype=np.int64), parts)


def has_guides(adata: AnnData) -> bool:
    """Tell whether ``pp.assign_guides`` has run."""
    return _keys.GUIDES in adata.uns and _keys.GUIDE_IDENTITY in adata.obs


def default_max_targets(adata: AnnData) -> int:
    """Return 1 where the labels are those of ``pp.assign_guides``, which hold the multiplets; else the most parts."""
    column = adata.uns.get(_keys.PERTURBATION, {}).get(_keys.PARAMS, {}).get("column")
    if has_guides(adata) and column == _keys.GUIDE_TARGET:
        return 1
    return max(int(adata.obs[_keys.N_PARTS].max()), 1)


def warn_of_designed_pairs(labels: pd.Series) -> None:
    """Warn where most pairs among single-guide labels recur more often than accident would have it."""
    n_cells = labels.value_counts()
    names = {label: Condition.parse(label).names for label in n_cells.index}
    pairs = {label: n for label, n in n_cells.items() if len(names[label]) == 2}
    alone = {names[label][0]: n for label, n in n_cells.items() if len(names[label]) == 1}
    n_pairs, n_alone = sum(pairs.values()), sum(alone.values())
    if not n_pairs or not n_alone:
        return

    def by_chance(label: str) -> float:
        first, second = (alone.get(name, 0) / n_alone for name in names[label])
        return 2 * first * second * n_pairs

    designed = {label: n for label, n in pairs.items() if n >= max(_FEWEST, _TIMES_CHANCE * by_chance(label))}
    if sum(designed.values()) > 0.5 * n_pairs:
        warnings.warn(
            f"{len(designed)} pairs of targets, such as {sorted(designed)[:3]}, occur together far more often than by "
            "chance and are dropped as multiplets. If this screen combines guides, pass `max_targets=2`.",
            UserWarning,
            stacklevel=4,
        )
