"""What models of the inverse task may see: expression of the measured genes, and the labels to learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.data.hidden_genes import Columns, expression_without
from scperturbmamba.data.statistics import group_averages

_FEWEST_CELLS = 3  # of a perturbation alone that can be learned


@dataclass(frozen=True)
class InverseData:
    """Labelled cells, without anything that would give the label away.

    Attributes
    ----------
    genes
        Names of the measured genes that a model may see; masked ones are not among them.
    x
        (cells × genes), float32: log-normalised expression.
    condition
        (cells,): place in ``conditions``.
    conditions
        Each once; the control is among them.
    candidates
        Parts that may be asked for, in the order of the scores.
    batch
        (cells,): replicate, batch or 0; a cell is compared with the control cells of its own.
    is_val
        (cells,): True on the validation side.
    features
        Feature tables of the measured genes; never of the perturbed gene of a cell.
    """

    genes: tuple[str, ...]
    x: NDArray[np.float32]
    condition: NDArray[np.int64]
    conditions: tuple[Condition, ...]
    candidates: tuple[Part, ...]
    batch: NDArray[np.int64]
    is_val: NDArray[np.bool_]
    features: tuple[FeatureTable, ...] = ()

    @property
    def control(self) -> int:
        """The place of the control in ``conditions``."""
        return self.conditions.index(Condition())

    @property
    def answer(self) -> NDArray[np.int64]:
        """(cells,): the candidate that was perturbed alone, -1 for the control, -2 for a combination."""
        place = {Condition((part,)): number for number, part in enumerate(self.candidates)}
        of = np.array([-1 if one.is_control else place.get(one, -2) for one in self.conditions], dtype=np.int64)
        return of[self.condition]

    def take(self, cells: NDArray[np.bool_]) -> InverseData:
        """Return some of the cells."""
        some = {name: getattr(self, name)[cells] for name in ("x", "condition", "batch", "is_val")}
        return replace(self, **some)


@dataclass(frozen=True)
class View:
    """Which columns a model sees, and against which control cells.

    Attributes
    ----------
    hidden, kept
        (variables,): genes whose expression is taken out for everyone; genes that a model sees.
    batch
        Column of ``obs``; the control cells of a level are moved to the centre of all. None compares with all controls.
    """

    hidden: Columns
    kept: Columns
    batch: str | None = None


def read_inverse(
    adata: AnnData, view: View, *, train: Columns, val: Columns, features: tuple[FeatureTable, ...] = ()
) -> InverseData:
    """Read the cells of two sides; those whose perturbations never stand alone in training are left out.

    Raises
    ------
    ValueError
        There are no control cells, no batch has some of its own, or no perturbation stands alone.
    """
    labels = adata.obs[_keys.PERTURBATION].astype(object)
    labels = labels.where(labels.notna(), None).to_numpy()
    candidates = _candidates(labels[train])
    known = {label: _is_known(label, candidates) for label in set(labels[train | val]) if label is not None}
    used = (train | val) & np.array([known.get(label, False) for label in labels])
    some = adata[used]
    names = sorted(set(labels[used]) - {_keys.CONTROL})
    code = pd.Index([_keys.CONTROL, *names]).get_indexer(labels[used])
    batch = batch_codes(some, view.batch)
    x = expression_without(some, view.hidden, view.kept)
    data = InverseData(
        genes=tuple(map(str, adata.var_names[view.kept])),
        x=align(x, batch, code == 0, control_centre(x, batch, code == 0)),
        condition=code.astype(np.int64),
        conditions=tuple(Condition.parse(label) for label in (_keys.CONTROL, *names)),
        candidates=candidates,
        batch=batch,
        is_val=val[used],
        features=features,
    )
    _check_controls(data)
    return data


def batch_codes(adata: AnnData, batch: str | None) -> NDArray[np.int64]:
    """Return (cells,): the level of the column, in the order of their names; 0 without a column."""
    if batch is None:
        return np.zeros(adata.n_obs, np.int64)
    return pd.factorize(adata.obs[batch].astype(str), sort=True)[0].astype(np.int64)


def control_centre(
    x: NDArray[np.float32], batch: NDArray[np.int64], is_control: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return (genes,): the mean over batches of the means of their control cells."""
    own = np.where(is_control, batch, -1)
    levels = np.unique(own[own >= 0])
    mean, _ = group_averages(x, own, int(levels.max(initial=0)) + 1)
    return np.asarray(mean[levels].mean(0), dtype=np.float32) if len(levels) else np.zeros(x.shape[1], np.float32)


def align(
    x: NDArray[np.float32],
    batch: NDArray[np.int64],
    is_control: NDArray[np.bool_],
    centre: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Move each batch so that the mean of its control cells is the centre; one without control cells stays."""
    own = np.where(is_control, batch, -1)
    mean, n = group_averages(x, own, int(batch.max(initial=0)) + 1)
    shift = np.where((n > 0)[:, None], centre - mean, 0).astype(np.float32)
    return x + shift[batch]


def _candidates(labels: NDArray[np.object_]) -> tuple[Part, ...]:
    n_cells = pd.Series(labels).value_counts()
    found = [Condition.parse(label).parts for label in n_cells.index[n_cells >= _FEWEST_CELLS] if label is not None]
    candidates = tuple(sorted(parts[0] for parts in found if len(parts) == 1))
    if not candidates:
        msg = (
            f"expected at least one perturbation that stands alone in training, with {_FEWEST_CELLS} cells or more; "
            "found none. Look at `adata.obs[['perturbation', 'split']]`, or pass `key=None` to train on all cells."
        )
        raise ValueError(msg)
    return candidates


def _is_known(label: str, candidates: Sequence[Part]) -> bool:
    return set(Condition.parse(label).parts) <= set(candidates)


def _check_controls(data: InverseData) -> None:
    control = (data.condition == data.control) & ~data.is_val
    if control.sum() < _FEWEST_CELLS:
        msg = (
            f"expected at least {_FEWEST_CELLS} control cells in training; found {int(control.sum())}. Name their "
            'label: `spm.pp.perturbation_labels(adata, column, control="...")`.'
        )
        raise ValueError(msg)
    without = sorted(set(data.batch) - set(data.batch[data.condition == data.control]))
    if without:
        msg = (
            f"expected control cells in every batch; {len(without)} of {len(set(data.batch))} have none. Leave those "
            "out, or pass `batch=None`."
        )
        raise ValueError(msg)
