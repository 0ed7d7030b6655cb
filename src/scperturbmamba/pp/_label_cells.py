"""The slots of each cell, from what its label and its other columns say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.dialects import Reading
from scperturbmamba.data.dose_units import read_unit
from scperturbmamba.data.kinds import DRUG
from scperturbmamba.pp._label_columns import SLOTS
from scperturbmamba.pp._label_inputs import Inputs
from scperturbmamba.pp._label_units import Dosed, in_common_units

UNIT, WAS = "unit", "converted_from"
_OTHER = "other"


def cell_slots(raw: pd.Series, readings: Mapping[str, Reading | None], inputs: Inputs, genes: set[str]) -> pd.DataFrame:
    """Return the slots, and the unit of every dose and what it was; a row per cell.

    Raises
    ------
    ValueError
        A unit is not known, or one drug has units of two families.
    """
    given = {"raw": raw, "dose": inputs.dose, "unit": inputs.unit, "kind": inputs.kind}
    keys = pd.DataFrame({name: values.to_numpy() for name, values in given.items()}, index=raw.index)
    group = keys.groupby(list(keys), dropna=False, sort=False).ngroup().to_numpy()
    _, first, n_cells = np.unique(group, return_index=True, return_counts=True)
    combos = keys.iloc[first].itertuples()
    found = [_dosed(readings[one.raw], one, int(n), genes) for one, n in zip(combos, n_cells)]
    rows = pd.DataFrame(_rows(_with_drugs(in_common_units(found))))
    return _as_slots(rows.iloc[group].set_index(raw.index))


def label_table(raw: pd.Series, table: pd.DataFrame) -> pd.DataFrame:
    """Return what each label was read as, in which unit its doses are, and from which they were converted."""
    told = table[[_keys.PERTURBATION, UNIT, WAS]].astype(object).fillna("")
    told = told.rename(columns={_keys.PERTURBATION: "label"}).assign(found=raw.to_numpy())
    counted = told.groupby(["found", "label", UNIT, WAS], sort=True).size().reset_index(name="n_cells")
    counted.index = counted.index.astype(str)
    return counted


def _dosed(reading: Reading | None, cell: Any, n_cells: int, genes: set[str]) -> Dosed | None:
    """Complete a condition with the cell's dose, unit and kind."""
    if reading is None:
        return None
    parts = reading.condition.parts
    full = Condition(tuple(_full(part, cell, genes, alone=len(parts) == 1) for part in parts))
    named = dict(reading.units)
    if cell.unit and any(part.dose is not None and part.name not in named for part in full.parts):
        named = {**dict.fromkeys(full.names, read_unit(cell.unit)), **named}
    units = {part.name: named[part.name] for part in full.parts if part.dose is not None and part.name in named}
    return Dosed(full, tuple(sorted(units.items())), n_cells=n_cells)


def _full(part: Part, cell: Any, genes: set[str], *, alone: bool) -> Part:
    """Give a part the kind and the dose of its cell; the dose goes to what may be a drug, or to a part alone.

    Dose 0 undoes a drug and whatever is no gene; beside a gene alone it says only that there was no drug.
    """
    own = part.kind or (DRUG if part.dose is not None else cell.kind)
    may_be_drug = own == DRUG or (not own and part.name not in genes)
    takes = may_be_drug or (alone and (cell.dose > 0 or own == _OTHER))
    if part.dose is not None or np.isnan(cell.dose) or not takes:
        return replace(part, kind=own)
    return replace(part, kind=own or DRUG, dose=cell.dose)


def _with_drugs(found: Sequence[Dosed | None]) -> list[Dosed | None]:
    """Call a part a drug wherever its name is one in another condition and nothing else."""
    drugs = {name for name, kinds in _kinds_by_name(found).items() if kinds == {"", DRUG}}
    return [one and replace(one, condition=_named_drugs(one.condition, drugs)) for one in found]


def _named_drugs(condition: Condition, drugs: set[str]) -> Condition:
    return Condition(tuple(replace(part, kind=DRUG) if part.name in drugs else part for part in condition.parts))


def _kinds_by_name(found: Sequence[Dosed | None]) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for one in found:
        for part in one.condition.parts if one else ():
            kinds.setdefault(part.name, set()).add(part.kind)
    return kinds


def _rows(found: Sequence[Dosed | None]) -> list[dict[str, Any]]:
    """Return the slots of each condition; a name that occurs under two kinds shows them in its label."""
    shown = {name for name, kinds in _kinds_by_name(found).items() if len(kinds) > 1}
    return [_row(one, shown) for one in found]


def _row(one: Dosed | None, shown: set[str]) -> dict[str, Any]:
    if one is None:
        nothing = {_keys.N_PARTS: -1, _keys.PERTURBATION_TYPE: None, _keys.DOSE: np.nan, _keys.DOSE_UNIT: None}
        return {_keys.PERTURBATION: None, **nothing, UNIT: "", WAS: ""}
    parts = tuple(part if part.name in shown else replace(part, kind="") for part in one.condition.parts)
    dose = one.condition.dose
    kinds = sorted({part.kind or "unknown" for part in one.condition.parts}) or [_keys.CONTROL]
    return {
        _keys.PERTURBATION: Condition(parts).label,
        _keys.N_PARTS: len(parts),
        _keys.PERTURBATION_TYPE: "+".join(kinds),
        _keys.DOSE: dose,
        _keys.DOSE_UNIT: one.unit if one.unit and not np.isnan(dose) else None,
        UNIT: one.unit,
        WAS: "+".join(one.was),
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
    return table[[*SLOTS, UNIT, WAS]]
