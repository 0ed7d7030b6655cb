"""Read the perturbation labels of a screen, in any dialect, into canonical slots."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_in_memory, check_params
from scperturbmamba.data.conditions import KINDS, Condition, Part, part_names
from scperturbmamba.data.control_names import (
    fold,
    is_multiplet_name,
    is_unlabelled_name,
    resembles_control,
)
from scperturbmamba.data.dialects import Reading, kind_of, looks_like_column_of, read_label
from scperturbmamba.data.views import own
from scperturbmamba.data.words import words_of
from scperturbmamba.pp._columns import find_columns
from scperturbmamba.pp._label_columns import KEPT, SLOTS, keep_columns, user_column, user_obs

_log = logging.getLogger("scperturbmamba")


def perturbation_labels(
    adata: AnnData,
    column: str | None = None,
    *,
    control: str | Sequence[str] | None = None,
    dose: str | None = None,
    dose_unit: str | None = None,
    perturbation_type: str | None = None,
    separator: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> None:
    r"""Read the labels of a screen, in any dialect, into the slots that everything else reads.

    ``TP53+ctrl``, ``ctrl+TP53``, ``A_B`` (where ``A`` and ``B`` are known names), ``non-targeting``, ``NegCtrl0``,
    ``BRCA1_KO``, ``MYC_activation``, ``A549_CBL+CNN1_1+1``, ``K562_---_TP53``, ``dasatinib@10`` and
    ``[('dasatinib', 10, 'nM')]`` are understood. Mixed spellings and likely typos of the control are reported.

    Parameters
    ----------
    adata
        Cells × genes.
    column
        Column of ``obs`` with a label per cell; the default is found by :func:`detect_columns`.
    control
        Labels that mean control, beside the usual words.
    dose
        Column of ``obs`` with the dose of a cell's drug, a number.
    dose_unit
        Column of ``obs`` with the unit, or the unit itself (``"nM"``).
    perturbation_type
        What was done to the genes, one of ``knockout``, ``CRISPRi``, ``CRISPRa``, ``overexpression``, ``drug``,
        ``other``, or a column of ``obs`` that says so. The default reads labels and column names.
    separator
        What joins the parts of a combination, where it is not ``+``.
    rename
        Labels to read as other labels, such as ``{"contrl": "control"}``.

    Returns
    -------
    None
        Writes into ``adata``:

        ``obs["perturbation"]``
            Category, canonical: ``"control"`` first, then sorted; NaN where a cell has no label.
        ``obs["perturbation_idx"]``
            Integer: 0 for the control, -1 where a cell has no label.
        ``obs["is_control"]``, ``obs["n_parts"]``
            Boolean; number of parts, 0 for the control, -1 without a label.
        ``obs["perturbation_type"]``, ``obs["dose"]``, ``obs["dose_unit"]``
            Category; dose of the cell's drug in that unit, NaN where there is none; category.
        ``uns["perturbation"]``
            ``params``, ``labels`` (a table of what each label was read as) and ``kept`` (where the user's columns
            that bear our names are).

        A column of the user's that bears one of these names is kept as ``obs["<name>_original"]``. Running twice
        changes nothing.

    Raises
    ------
    KeyError
        A column is not there, or none can be recognised.
    ValueError
        A label cannot be read, no cell is labelled, a dose is no number, infinite or negative, or has two units.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> int(adata.obs["is_control"].sum()) > 0
    True
    """
    check_in_memory(adata, function="spm.pp.perturbation_labels")
    column = column or _detected(adata)
    source = user_column(adata, column, argument="column")
    units, fixed_unit = _unit_column(adata, dose_unit, dose)
    doses = _dose_column(adata, dose)
    kinds = _kind_column(adata, perturbation_type, column)
    extra_controls = {fold(word) for word in as_names(control or [])}
    raw = _raw_labels(source, rename or {})
    genes = set(map(str, adata.var_names))

    readings = _read_all(raw, genes, extra_controls, separator)
    table = _per_cell(raw, readings, doses, units, fixed_unit, kinds, genes)
    _check_units(table)
    _report(readings, genes)

    params = {
        "column": column,
        "control_labels": sorted(label for label, one in readings.items() if one and one.condition.is_control),
        "dose": dose,
        "dose_unit": dose_unit,
        "perturbation_type": perturbation_type,
        "separator": separator,
    }
    _write(adata, table, {_keys.PARAMS: check_params(params), "labels": _label_table(raw, table)})


@dataclass(frozen=True)
class _Kinds:
    """What was done: a word for all cells, or a word per cell."""

    word: str = ""
    per_cell: pd.Series | None = None


def _detected(adata: AnnData) -> str:
    column = find_columns(user_obs(adata))["perturbation"] or find_columns(adata.obs)["perturbation"]
    if column is None:
        msg = (
            "no column of `adata.obs` looks like a perturbation label. "
            f'Name it: `spm.pp.perturbation_labels(adata, "column")`. Found: {list(adata.obs.columns)}.'
        )
        raise KeyError(msg)
    return str(column)


def _raw_labels(source: pd.Series, rename: Mapping[str, str]) -> pd.Series:
    return words_of(source).str.strip().replace(dict(rename))


def _dose_column(adata: AnnData, dose: str | None) -> pd.Series | None:
    if dose is None:
        return None
    source = user_column(adata, dose, argument="dose")
    values = pd.to_numeric(source, errors="coerce").astype(float)
    words = source[values.isna() & ~words_of(source).map(is_unlabelled_name).astype(bool)]
    if len(words) or (values < 0).any() or np.isinf(values).any():
        found = f"such as {words.iloc[0]!r}" if len(words) else f"from {values.min():g} to {values.max():g}"
        msg = (
            f"`obs[{dose!r}]` must hold doses, finite and not negative; found {found}. Give numbers, and NaN for none."
        )
        raise ValueError(msg)
    return values


def _unit_column(adata: AnnData, dose_unit: str | None, dose: str | None) -> tuple[pd.Series | None, str]:
    if dose_unit is None:
        return None, ""
    if dose_unit in adata.obs and dose_unit != dose:
        return words_of(user_column(adata, dose_unit, argument="dose_unit")), ""
    return None, dose_unit


def _kind_column(adata: AnnData, perturbation_type: str | None, column: str) -> _Kinds:
    if perturbation_type is None:
        named = find_columns(user_obs(adata))["perturbation_type"]
        words = None if named is None else _kind_words(adata, named)
        if words is not None and (words != "").any():
            return _Kinds(per_cell=words)
        return _Kinds(word=looks_like_column_of(column))
    if perturbation_type in adata.obs:
        return _Kinds(per_cell=_kind_words(adata, perturbation_type))
    kind = perturbation_type if perturbation_type in KINDS else kind_of(perturbation_type)
    if not kind:
        msg = (
            f"`perturbation_type` must be one of {list(KINDS)} or a column of `adata.obs`; found {perturbation_type!r}."
        )
        raise ValueError(msg)
    return _Kinds(word=kind)


def _kind_words(adata: AnnData, column: str) -> pd.Series:
    return words_of(user_column(adata, column, argument="perturbation_type")).map(kind_of).astype(str)


def _read_all(raw: pd.Series, genes: set[str], controls: set[str], separator: str | None) -> dict[str, Reading | None]:
    """Read each different label once; None where it says that there is no label."""
    labels = [str(label) for label in raw.unique()]
    alone = {label for label in labels if not any(mark in label for mark in "+_|;,")}
    known = alone | genes | {name for name in labels if fold(name) in controls}
    readings: dict[str, Reading | None] = {}
    for label in labels:
        if fold(label) in controls:
            readings[label] = Reading(Condition())
        elif (is_unlabelled_name(label) or is_multiplet_name(label)) and label not in genes:
            readings[label] = None
        else:
            readings[label] = _without_controls(read_label(label, known, separator=separator), controls)
    if not any(readings.values()):
        msg = "no cell has a label. Give the column that names each cell's perturbation."
        raise ValueError(msg)
    return readings


def _without_controls(reading: Reading, controls: set[str]) -> Reading:
    parts = tuple(part for part in reading.condition.parts if fold(part.name) not in controls)
    return Reading(Condition(parts), reading.unit)


def _per_cell(
    raw: pd.Series,
    readings: dict[str, Reading | None],
    doses: pd.Series | None,
    units: pd.Series | None,
    fixed_unit: str,
    kinds: _Kinds,
    genes: set[str],
) -> pd.DataFrame:
    """Return the slots, a row per cell, from each different combination of label, dose, unit and kind once."""
    keys = pd.DataFrame({"raw": raw.to_numpy()}, index=raw.index)
    keys["dose"] = np.nan if doses is None else doses.to_numpy()
    keys["kind"] = kinds.word if kinds.per_cell is None else kinds.per_cell.to_numpy()
    group = keys.groupby(["raw", "dose", "kind"], dropna=False, sort=False).ngroup().to_numpy()
    _, first = np.unique(group, return_index=True)
    combos = keys.iloc[first]
    full = [_full(readings[one.raw], one.dose, one.kind, genes) for one in combos.itertuples()]
    rows = pd.DataFrame(_rows(_with_drugs(full)))
    table = rows.iloc[group].set_index(raw.index)
    label_units = raw.map({label: one.unit if one else "" for label, one in readings.items()})
    unit = label_units.where(label_units != "", fixed_unit) if units is None else units
    table[_keys.DOSE_UNIT] = unit.where(table[_keys.DOSE].notna() & (unit != ""))
    return _as_slots(table)


def _full(reading: Reading | None, dose: float, kind: str, genes: set[str]) -> Condition | None:
    """Complete a condition with the cell's dose and kind; a dose belongs to a part alone, or to what may be a drug."""
    if reading is None:
        return None
    parts = reading.condition.parts
    dosed: list[Part] = []
    for part in parts:
        own = part.kind or ("drug" if part.dose is not None else kind)
        may_be_drug = own == "drug" or (not own and part.name not in genes)
        takes = part.dose is None and not np.isnan(dose) and (may_be_drug or len(parts) == 1)
        dosed.append(replace(part, kind="drug" if takes and not own else own, dose=dose if takes else part.dose))
    return Condition(tuple(dosed))


def _with_drugs(conditions: Sequence[Condition | None]) -> list[Condition | None]:
    """Call a part a drug wherever its name is one in another condition and nothing else."""
    drugs = {name for name, kinds in _kinds_by_name(conditions).items() if kinds == {"", "drug"}}
    return [
        one and Condition(tuple(replace(part, kind="drug") if part.name in drugs else part for part in one.parts))
        for one in conditions
    ]


def _kinds_by_name(conditions: Sequence[Condition | None]) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for condition in conditions:
        for part in condition.parts if condition else ():
            kinds.setdefault(part.name, set()).add(part.kind)
    return kinds


def _rows(conditions: Sequence[Condition | None]) -> list[dict[str, Any]]:
    """Return the slots of each condition; a name that occurs under two kinds shows them in its label."""
    shown = {name for name, kinds in _kinds_by_name(conditions).items() if len(kinds) > 1}
    return [_row(condition, shown) for condition in conditions]


def _row(condition: Condition | None, shown: set[str]) -> dict[str, Any]:
    if condition is None:
        return {_keys.PERTURBATION: None, _keys.N_PARTS: -1, _keys.PERTURBATION_TYPE: None, _keys.DOSE: np.nan}
    parts = tuple(part if part.name in shown else replace(part, kind="") for part in condition.parts)
    doses = [part.dose for part in condition.parts if part.dose is not None]
    kinds = sorted({part.kind or "unknown" for part in condition.parts}) or [_keys.CONTROL]
    return {
        _keys.PERTURBATION: Condition(parts).label,
        _keys.N_PARTS: len(parts),
        _keys.PERTURBATION_TYPE: "+".join(kinds),
        _keys.DOSE: doses[0] if len(doses) == 1 else np.nan,
    }


def _as_slots(table: pd.DataFrame) -> pd.DataFrame:
    label = table[_keys.PERTURBATION]
    treated = sorted(set(label.dropna()) - {_keys.CONTROL})
    categories = [*([_keys.CONTROL] if (label == _keys.CONTROL).any() else []), *treated]
    codes = {name: number for number, name in enumerate([_keys.CONTROL, *treated])}
    table[_keys.PERTURBATION] = pd.Categorical(label, categories=categories)
    table[_keys.PERTURBATION_IDX] = label.map(codes).fillna(-1).astype(int)
    table[_keys.IS_CONTROL] = (label == _keys.CONTROL).to_numpy(dtype=bool)
    for name in (_keys.PERTURBATION_TYPE, _keys.DOSE_UNIT):
        table[name] = pd.Categorical(table[name], categories=sorted(set(table[name].dropna())))
    return table[list(SLOTS)]


def _check_units(table: pd.DataFrame) -> None:
    units = table.groupby(_keys.PERTURBATION, observed=True)[_keys.DOSE_UNIT].nunique()
    mixed = [str(label) for label in units.index[units > 1]]
    if mixed:
        msg = (
            f"one label must have one unit of dose; found several for {mixed[:3]}. Convert the doses to one unit first."
        )
        raise ValueError(msg)


def _report(readings: dict[str, Reading | None], genes: set[str]) -> None:
    """Warn of mixed spellings of the control, of likely typos, and of conditions that differ by case only."""
    read = {label: one.condition for label, one in readings.items() if one is not None}
    controls = sorted(label for label, condition in read.items() if condition.is_control)
    if len(controls) > 1:
        _log.info("labels %s were all read as the control", controls)
    if not controls:
        _warn("no control cell was found; name its label: `control=`.")
    typos = [name for name in part_names(read.values()) if name not in genes and resembles_control(name)]
    if typos:
        _warn(f"labels {typos} look like misspelt controls; if so, pass `control={typos}`.")
    by_case: dict[str, set[str]] = {}
    for condition in read.values():
        by_case.setdefault(condition.label.casefold(), set()).add(condition.label)
    twins = sorted(str(sorted(group)) for group in by_case.values() if len(group) > 1)
    if twins:
        _warn(f"labels differ by case only: {', '.join(twins[:5])}; unify them with `rename=`.")


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)


def _label_table(raw: pd.Series, table: pd.DataFrame) -> pd.DataFrame:
    pairs = pd.DataFrame({"found": raw.to_numpy(), "label": table[_keys.PERTURBATION].astype(object).to_numpy()})
    counted = pairs.fillna({"label": ""}).groupby(["found", "label"], sort=True).size().reset_index(name="n_cells")
    counted.index = counted.index.astype(str)
    return counted


def _write(adata: AnnData, table: pd.DataFrame, record: dict[str, Any]) -> None:
    own(adata)
    record[KEPT] = keep_columns(adata)
    for slot in SLOTS:
        adata.obs[slot] = table[slot]
    adata.uns[_keys.PERTURBATION] = record
