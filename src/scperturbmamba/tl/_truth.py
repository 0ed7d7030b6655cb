"""The measured effects that predictions are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.profiles import control_rows, effect_profiles, group_rows


@dataclass(frozen=True)
class Truth:
    """Measured effects on one side of the split, against control cells of the same side.

    Attributes
    ----------
    rows
        ``label`` and ``context`` of each row.
    delta
        (rows × genes).
    n_cells
        (rows,).
    """

    rows: pd.DataFrame
    delta: NDArray[np.float32]
    n_cells: NDArray[np.int64]


def measured_effects(
    adata: AnnData, *, genes: Sequence[str], context: str | None, split: str | None, sides: Sequence[str]
) -> Truth:
    """Average the cells of the sides asked for; without a split, all cells.

    Raises
    ------
    ValueError
        There are no control cells on those sides.
    """
    part = adata[:, list(genes)]
    if split is not None:
        part = part[part.obs[split].isin(list(sides)).to_numpy()]
    rows, group = group_rows(part, context=context)
    control_rows(rows)
    profiles = effect_profiles(part.X, rows, group)
    treated = (rows["label"] != _keys.CONTROL).to_numpy()
    return Truth(rows[treated], profiles.delta[treated], profiles.n_cells[treated])
