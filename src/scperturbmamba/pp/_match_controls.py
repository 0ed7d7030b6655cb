"""Find the control cells that each treated cell is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_column, check_in_memory, check_key, check_params
from scperturbmamba.data.views import own
from scperturbmamba.data.words import words_of
from scperturbmamba.pp._user_columns import keep_user_columns

OBS_NAMES = "obs_names"


def match_controls(
    adata: AnnData,
    by: str | Sequence[str] | None = None,
    *,
    order: str | None = None,
    context: str | None = None,
    key_added: str = _keys.CONTROL_GROUP,
) -> None:
    """Compare treated cells with the control cells of their own plate, batch, donor or run.

    Plates may differ by more than drugs do: in TG-GATEs two replicates agree with a correlation of 0.84 against all
    controls of the same time, most of which is the plate, and of 0.29 against the controls of their own run. Once the
    groups are there, whatever computes effects uses them: :func:`pseudobulk`, :func:`split_conditions` (controls go
    where their treated cells go), training and evaluation.

    Parameters
    ----------
    adata
        Cells × genes with canonical labels.
    by
        Column of ``obs``, or several (plate, batch, donor, time): a group is one combination of their levels.
    order
        Where no column names the plate: ``"obs_names"`` or a column of ``obs`` in whose order the cells were processed,
        such as a barcode. Control cells of one level that follow each other directly open a group; the treated cells of
        that level after them belong to it, until the next such run. Treated cells before the first controls of their
        level join its first group. Words are ordered as words, or as numbers where all are.
    context
        Column of ``obs`` with cell lines or tissues, further levels: the same as one more column of ``by``.
    key_added
        Name of the slots; effects read the default one.

    Returns
    -------
    None
        Writes ``obs[key_added]`` (category; NaN where a cell has no label or no level) and ``uns[key_added]``:
        ``params`` (with ``rule`` in words and ``n_groups``) and ``groups`` (a row per group: ``n_control``,
        ``n_treated``, ``n_conditions``). A column of the user's of that name is kept as ``obs["<name>_original"]``.

    Raises
    ------
    KeyError
        The labels or a column are not there.
    ValueError
        Neither ``by`` nor ``order`` is given, a level has treated cells and no control cells, or the order has gaps.

    References
    ----------
    Igarashi et al. (2015), Nucleic Acids Research: Open TG-GATEs, whose arrays stand in runs of controls and doses.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.match_controls(adata, "batch")
    >>> adata.uns["control_group"]["groups"].index.tolist()
    ['batch1', 'batch2', 'batch3']
    """
    check_in_memory(adata, function="spm.pp.match_controls")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    columns = [] if by is None else as_names(by)
    if not columns and order is None:
        msg = (
            "expected `by=`, columns of `adata.obs` such as the plate, or `order=`, the order of processing; found "
            f'neither. Try `spm.pp.match_controls(adata, "plate")`. Found: {list(adata.obs.columns)}.'
        )
        raise ValueError(msg)
    levels = _levels(adata, columns, context)
    labels = words_of(adata.obs[_keys.PERTURBATION])
    is_control = (labels == _keys.CONTROL).to_numpy()
    use = ((labels != "") & levels.notna()).to_numpy()
    _check_controls(levels[use], is_control[use], [*columns, *([context] if context else [])])

    if order is None:
        groups = levels.where(use)
    else:
        groups = pd.Series(np.nan, index=levels.index, dtype=object)
        groups[use] = _runs(levels.to_numpy()[use], is_control[use], _places(adata, order)[use])
    names = sorted(set(groups.dropna()), key=lambda name: name.rsplit(" | ")[-1] if order else name)
    n_unknown = int(((labels != "") & groups.isna()).sum())
    if n_unknown:
        text = f"{n_unknown} labelled cells have no level of {columns}; they are compared with all controls at hand."
        warnings.warn(text, UserWarning, stacklevel=2)

    rule = "levels of the columns" if order is None else "runs of control cells in the order, within the levels"
    given = {"by": columns, "order": order, "context": context, "rule": rule, "n_groups": len(names)}
    params = check_params(given)
    table = _table(groups, labels, is_control, names)
    own(adata)
    keep_user_columns(adata, [key_added], written_by=key_added)
    adata.obs[key_added] = pd.Categorical(groups, categories=names)
    adata.uns[key_added] = {_keys.PARAMS: params, "groups": table}


def _levels(adata: AnnData, columns: Sequence[str], context: str | None) -> pd.Series:
    """Return the level of each cell, NaN where a column holds none."""
    for column in columns:
        check_column(adata, column, argument="by")
    if context is not None:
        check_column(adata, context, argument="context")
    every = list(dict.fromkeys([*columns, *([context] if context else [])]))
    level = pd.Series("", index=adata.obs_names, dtype=object)
    for number, column in enumerate(every):
        level = level + (" | " if number else "") + words_of(adata.obs[column])
    return level.where(adata.obs[every].notna().all(axis=1))


def _check_controls(levels: pd.Series, is_control: NDArray[np.bool_], columns: Sequence[str]) -> None:
    without = sorted(set(levels[~is_control]) - set(levels[is_control]))
    if without:
        what = f"in every level of {list(columns)}; found none in {without[:10]}" if columns else "; found none"
        msg = (
            f"expected control cells {what}. Leave those cells out, or take a coarser column: "
            "`spm.pp.match_controls(adata, by=...)`."
        )
        raise ValueError(msg)


def _places(adata: AnnData, order: str) -> NDArray[np.int64]:
    """Return (cells,): the place of each cell in the order, ties in the order of ``adata``."""
    if order != OBS_NAMES:
        check_column(adata, order, argument="order")
    values = pd.Series(adata.obs_names.to_numpy()) if order == OBS_NAMES else adata.obs[order].reset_index(drop=True)
    if values.isna().any():
        msg = f"`obs[{order!r}]` must hold the place of every cell; found {int(values.isna().sum())} without one."
        raise ValueError(msg)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    numbers = pd.to_numeric(values, errors="coerce")
    values = numbers if numbers.notna().all() else words_of(values)
    place = np.empty(len(values), np.int64)
    place[np.argsort(values.to_numpy(), kind="stable")] = np.arange(len(values))
    return place


def _runs(levels: NDArray[np.object_], is_control: NDArray[np.bool_], place: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return the names of the groups that runs of control cells open, ``"<level> | <number>"``."""
    order = np.argsort(place)
    level, names = pd.factorize(levels[order])
    control = is_control[order]
    same = np.append(False, control[1:] & control[:-1] & (level[1:] == level[:-1]))
    run = np.cumsum(control & ~same)  # the number of the run that each control cell is of
    latest = pd.Series(np.where(control, run, np.nan)).groupby(level)
    number = latest.ffill().fillna(latest.transform("first")).to_numpy().astype(int)
    found = np.empty(len(order), dtype=object)
    width = len(str(run.max(initial=0)))
    found[order] = [f"{names[one]} | {n:0{width}d}".removeprefix(" | ") for one, n in zip(level, number)]
    return found


def _table(groups: pd.Series, labels: pd.Series, is_control: NDArray[np.bool_], names: list[str]) -> pd.DataFrame:
    treated = groups[~is_control]
    table = pd.DataFrame(
        {
            "n_control": groups[is_control].value_counts(),
            "n_treated": treated.value_counts(),
            "n_conditions": labels[~is_control].groupby(treated).nunique(),
        }
    )
    return table.reindex(names).fillna(0).astype(int)
