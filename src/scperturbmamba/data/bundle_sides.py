"""One side of the split as rows: effects of conditions against the controls of that side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.control_groups import SharedControls, control_groups, warn_of_unmatched
from scperturbmamba.data.profiles import effect_profiles, group_rows


@dataclass(frozen=True)
class Side:
    """One side of the split: its treated rows, and which cells they and the controls are."""

    rows: pd.DataFrame
    contexts: tuple[str, ...]
    delta: NDArray[np.float32]
    se: NDArray[np.float32]
    n_cells: NDArray[np.int64]
    control: NDArray[np.float32]
    cell_row: NDArray[np.int64]
    control_cell: NDArray[np.int64]
    own_se: NDArray[np.float32]
    controls: SharedControls

    def restricted_to(self, contexts: tuple[str, ...]) -> Side:
        """Return the rows of some contexts."""
        keep = self.rows["context"].isin(contexts).to_numpy()
        if keep.all():
            return self
        new = np.full(len(keep) + 1, -1)
        new[np.flatnonzero(keep)] = np.arange(keep.sum())
        return Side(
            self.rows[keep], contexts, self.delta[keep], self.se[keep], self.n_cells[keep], self.control,
            new[self.cell_row], self.control_cell, self.own_se[keep], self.controls.take(np.flatnonzero(keep)),
        )  # fmt: skip


def rows_of_side(adata: AnnData, split: str, side: str, context: str | None) -> Side:
    """Read the rows of one side; raise ValueError where it has conditions and no control cells."""
    on_side = (adata.obs[split] == side).to_numpy()
    part = adata[on_side]
    rows, group = group_rows(part, context=context)
    is_control = (rows["label"] == _keys.CONTROL).to_numpy()
    if len(rows) and not is_control.any():
        msg = (
            f"expected control cells on the side {side!r}; found none. Bring at least three to the screen, name their "
            'label (`spm.pp.perturbation_labels(adata, column, control="...")`) and run `spm.pp.split_conditions`.'
        )
        raise ValueError(msg)
    profiles = effect_profiles(part.X, rows, group, control_groups(part)) if len(rows) else None
    warn_of_unmatched(profiles.n_unmatched if profiles else 0, f"of the side {side!r}")
    treated = np.flatnonzero(~is_control)
    renumber = np.full(len(rows) + 1, -1)
    renumber[treated] = np.arange(len(treated))
    control_number = np.full(len(rows) + 1, -1)
    control_number[np.flatnonzero(is_control)] = np.arange(is_control.sum())
    cell_row, control_cell = (np.full(adata.n_obs, -1) for _ in range(2))
    cell_row[on_side], control_cell[on_side] = renumber[group], control_number[group]
    empty = np.zeros((0, adata.n_vars), np.float32)
    return Side(
        rows=rows[~is_control],
        contexts=tuple(rows["context"][is_control]),
        delta=profiles.delta[treated] if profiles else empty,
        se=profiles.se[treated] if profiles else empty,
        n_cells=profiles.n_cells[treated] if profiles else np.zeros(0, np.int64),
        control=profiles.control if profiles else empty,
        cell_row=cell_row,
        control_cell=control_cell,
        own_se=profiles.own_se[treated] if profiles else empty,
        controls=profiles.shared.take(treated) if profiles else SharedControls.none(),
    )
