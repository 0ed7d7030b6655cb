"""The bundle: all that a model may see of a screen, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import (
    check_in_memory,
    check_key,
    check_log_normalised,
    check_unique_genes,
)
from scperturbmamba.data.bundle_cells import Cells, read_cells
from scperturbmamba.data.bundle_sides import rows_of_side
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.control_groups import SharedControls
from scperturbmamba.data.covariates import Covariates, read_covariates
from scperturbmamba.data.doses import Doses
from scperturbmamba.data.feature_tables import FeatureTable, read_features
from scperturbmamba.data.modelled_genes import modelled_genes
from scperturbmamba.data.screen_kinds import with_kinds


@dataclass(frozen=True)
class Bundle:
    """Profiles of conditions, the controls they are compared with, features, and the cells behind them.

    Attributes
    ----------
    genes
        Names of the modelled genes.
    conditions
        One per row; never the control.
    context
        (rows,): place in ``contexts``.
    contexts
        Names of the contexts.
    delta, se
        (rows × genes), float32: mean minus the control mean of the same context and side; its standard error.
    n_cells
        (rows,).
    is_val
        (rows,): True on the validation side.
    control
        (contexts × genes): mean of the training control cells, scale of X.
    covariates
        Technical covariates of rows and controls.
    features
        Feature tables.
    cells
        Raw counts, where they were asked for.
    weight
        (rows × genes), float32: how much each number of ``delta`` counts, 0 where it is not known (``delta`` is 0
        there); None where every number counts the same.
    own_se
        (rows × genes), float32: the part of ``se`` that is the treated cells'; None where it is not known.
    controls
        Which control cells each row is compared with; None where it is not known.
    doses
        How high the doses of each drug go, and their units.
    """

    genes: tuple[str, ...]
    conditions: tuple[Condition, ...]
    context: NDArray[np.int64]
    contexts: tuple[str, ...]
    delta: NDArray[np.float32]
    se: NDArray[np.float32]
    n_cells: NDArray[np.int64]
    is_val: NDArray[np.bool_]
    control: NDArray[np.float32]
    covariates: Covariates
    features: tuple[FeatureTable, ...]
    cells: Cells | None = None
    weight: NDArray[np.float32] | None = None
    own_se: NDArray[np.float32] | None = None
    controls: SharedControls | None = None
    doses: Doses = field(default_factory=Doses)

    @classmethod
    def from_adata(
        cls,
        adata: AnnData,
        *,
        split: str = _keys.SPLIT,
        context: str | None = None,
        covariates: Sequence[str] = (),
        features: Sequence[str] | None = (),
        with_cells: bool = False,
    ) -> Bundle:
        """Read the training and validation sides of a screen; the test side is never touched.

        Raises
        ------
        KeyError
            A slot is missing; the message names the call that makes it.
        ValueError
            ``X`` holds raw counts or NaN, there are no control cells, or no training condition.
        """
        check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
        check_key(adata, "obs", split, made_by="spm.pp.split_conditions")
        check_unique_genes(adata)
        check_in_memory(adata, function="Bundle.from_adata")
        check_log_normalised(adata)
        modelled = modelled_genes(adata)
        train, val = (rows_of_side(adata[:, modelled], split, side, context) for side in (_keys.TRAIN, _keys.VAL))
        if not len(train.rows):
            msg = "expected at least one training condition with cells; found none. Run `spm.pp.split_conditions`."
            raise ValueError(msg)
        context_names = train.contexts
        val = val.restricted_to(context_names)
        rows = pd.concat([train.rows, val.rows])
        place = {name: number for number, name in enumerate(context_names)}
        row_of_cell = np.where(train.cell_row >= 0, train.cell_row, np.where(val.cell_row >= 0, val.cell_row, -1))
        row_of_cell = np.where(val.cell_row >= 0, val.cell_row + len(train.rows), row_of_cell)
        return cls(
            genes=tuple(map(str, adata.var_names[modelled])),
            conditions=tuple(with_kinds(adata, rows["label"])),
            context=rows["context"].map(place).to_numpy(np.int64),
            contexts=context_names,
            delta=np.vstack([train.delta, val.delta]),
            se=np.vstack([train.se, val.se]),
            n_cells=np.concatenate([train.n_cells, val.n_cells]),
            is_val=np.arange(len(rows)) >= len(train.rows),
            control=train.control,
            covariates=read_covariates(adata, covariates, row_of_cell, train.control_cell, len(rows)),
            features=read_features(adata, features, modelled),
            cells=read_cells(adata, modelled, row_of_cell, train.control_cell) if with_cells else None,
            own_se=np.vstack([train.own_se, val.own_se]),
            controls=train.controls.and_then(val.controls),
            doses=Doses.of(adata),
        )

    def training(self) -> NDArray[np.int64]:
        """Return the places of the training rows."""
        return np.flatnonzero(~self.is_val)

    def against(self, control: NDArray[np.float32]) -> Bundle:
        """Return the bundle with the effects of its training rows against another control (contexts × genes)."""
        train = ~self.is_val[:, None] & self.known
        delta = np.where(train, self.delta + (self.control - control)[self.context], self.delta)
        return replace(self, delta=delta.astype(np.float32), control=control.astype(np.float32))

    def take(self, rows: NDArray[np.int64]) -> Bundle:
        """Return the bundle of some rows; control cells stay."""
        cells = self.cells
        if cells is not None:
            new = np.full(len(self.conditions) + 1, -1)
            new[rows] = np.arange(len(rows))
            kept = (cells.row < 0) | (new[cells.row] >= 0)
            number = np.where(cells.row < 0, cells.row, new[cells.row])
            cells = Cells(cells.counts[np.flatnonzero(kept)], cells.size[kept], number[kept])
        return replace(
            self,
            conditions=tuple(self.conditions[row] for row in rows),
            context=self.context[rows],
            delta=self.delta[rows],
            se=self.se[rows],
            n_cells=self.n_cells[rows],
            is_val=self.is_val[rows],
            covariates=replace(self.covariates, rows=self.covariates.rows[rows]),
            cells=cells,
            weight=None if self.weight is None else self.weight[rows],
            own_se=None if self.own_se is None else self.own_se[rows],
            controls=None if self.controls is None else self.controls.take(rows),
        )

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """(rows × genes): where ``delta`` was measured."""
        return np.ones(self.delta.shape, bool) if self.weight is None else self.weight > 0

    def mean_effect(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the mean effect (genes,) of some rows, each number by its weight, 0 where none is known."""
        if self.weight is None:
            return self.delta[rows].mean(0)
        weight = self.weight[rows]
        total = weight.sum(0)
        return np.divide((weight * self.delta[rows]).sum(0), total, out=np.zeros_like(total), where=total > 0)
