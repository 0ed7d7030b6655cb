"""The bundle: all that a model may see of a screen, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import (
    check_column,
    check_finite,
    check_in_memory,
    check_key,
    check_log_normalised,
    check_unique_genes,
)
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.control_groups import SharedControls, control_groups, warn_of_unmatched
from scperturbmamba.data.counts import find_counts
from scperturbmamba.data.covariates import Covariates, read_covariates
from scperturbmamba.data.doses import Doses
from scperturbmamba.data.feature_tables import FeatureTable, read_features
from scperturbmamba.data.profiles import effect_profiles, group_rows
from scperturbmamba.data.words import words_of

_TARGET_SUM = 1e4
_DRUG = "drug"


@dataclass(frozen=True)
class Cells:
    """Raw counts of the cells of a bundle, for likelihoods.

    Attributes
    ----------
    counts
        Cells × genes, CSR, whole numbers.
    size
        (cells,): library size over 10,000, so that ``size × rate`` is the expected count.
    row
        (cells,): row of the bundle, or ``-1 - context`` for a control cell.
    """

    counts: sp.csr_matrix
    size: NDArray[np.float32]
    row: NDArray[np.int64]


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
        train, val = (_side(adata[:, modelled], split, side, context) for side in (_keys.TRAIN, _keys.VAL))
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
            cells=_cells(adata, modelled, row_of_cell, train.control_cell) if with_cells else None,
            own_se=np.vstack([train.own_se, val.own_se]),
            controls=train.controls.and_then(val.controls),
            doses=Doses.of(adata),
        )

    def training(self) -> NDArray[np.int64]:
        """Return the places of the training rows."""
        return np.flatnonzero(~self.is_val)

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


@dataclass(frozen=True)
class _Side:
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

    def restricted_to(self, contexts: tuple[str, ...]) -> _Side:
        keep = self.rows["context"].isin(contexts).to_numpy()
        if keep.all():
            return self
        new = np.full(len(keep) + 1, -1)
        new[np.flatnonzero(keep)] = np.arange(keep.sum())
        return _Side(
            self.rows[keep], contexts, self.delta[keep], self.se[keep], self.n_cells[keep], self.control,
            new[self.cell_row], self.control_cell, self.own_se[keep], self.controls.take(np.flatnonzero(keep)),
        )  # fmt: skip


def modelled_genes(adata: AnnData) -> NDArray[np.bool_]:
    """Return (genes,): those that ``pp.select_genes`` chose, or all."""
    if _keys.SELECTED in adata.var:
        return adata.var[_keys.SELECTED].to_numpy(dtype=bool)
    return np.ones(adata.n_vars, dtype=bool)


def _side(adata: AnnData, split: str, side: str, context: str | None) -> _Side:
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
    return _Side(
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


def with_kinds(adata: AnnData, labels: pd.Series) -> list[Condition]:
    """Read the labels, and give each part the kind that its cells carry."""
    conditions = [Condition.parse(label) for label in labels]
    if _keys.PERTURBATION_TYPE not in adata.obs:
        return conditions
    pairs = adata.obs[[_keys.PERTURBATION, _keys.PERTURBATION_TYPE]].drop_duplicates(_keys.PERTURBATION)
    kinds = dict(zip(words_of(pairs[_keys.PERTURBATION]), words_of(pairs[_keys.PERTURBATION_TYPE])))
    return [_with_kind(one, kinds.get(label, "")) for one, label in zip(conditions, labels)]


def _with_kind(condition: Condition, text: str) -> Condition:
    """Give each part its kind; where drugs and genes go together, the dose tells the drug."""
    kinds = text.split("+")
    if len(kinds) > 1 and _DRUG in kinds:
        parts = (part if part.kind or part.dose is None else replace(part, kind=_DRUG) for part in condition.parts)
        return Condition(tuple(parts)).with_kind(gene_kind("+".join(kind for kind in kinds if kind != _DRUG)))
    return condition.with_kind(gene_kind(text))


def gene_kind(text: str) -> str:
    """Return the one kind that ``obs["perturbation_type"]`` names, empty where it names several or none."""
    kinds = [kind for kind in text.split("+") if kind not in ("nan", _keys.CONTROL, "")]
    return kinds[0] if len(kinds) == 1 and kinds[0] != "unknown" else ""


def _cells(
    adata: AnnData, modelled: NDArray[np.bool_], row: NDArray[np.int64], control_cell: NDArray[np.int64]
) -> Cells:
    number = np.where(row >= 0, row, -1 - control_cell)
    used = (row >= 0) | (control_cell >= 0)
    counts = sp.csr_matrix(find_counts(adata[used]).matrix[:, np.flatnonzero(modelled)], dtype=np.float32)
    size = cell_sizes(adata, used)
    check_finite(size, what="the library sizes")
    return Cells(counts, size, number[used])


def cell_sizes(adata: AnnData, used: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return library size over the target sum of ``pp.normalize`` for the cells asked for, over all genes at hand."""
    params: dict[str, Any] = adata.uns.get(_keys.NORMALIZE, {}).get(_keys.PARAMS, {})
    column = params.get("library_size")
    if column:
        check_column(adata, column, argument="library_size")
        total = adata.obs[column].to_numpy(np.float64)[used]
    else:
        total = np.asarray(find_counts(adata[used]).matrix.sum(axis=1), dtype=np.float64).ravel()
    return (np.maximum(total, 1.0) / float(params.get("target_sum", _TARGET_SUM))).astype(np.float32)
