"""Which drug and which dose a label names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import did_you_mean
from scperturbmamba.data.conditions import Condition


def drug_and_dose(label: str) -> tuple[str, float]:
    """Return a label without its dose, and the dose; empty and NaN where it has none, or several."""
    condition = Condition.parse(label)
    if np.isnan(condition.dose):
        return "", condition.dose
    return Condition(tuple(replace(part, dose=None) for part in condition.parts)).label, condition.dose


def dosed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose label has a dose, with ``drug`` and ``dose``, by rising dose."""
    drug, dose = zip(*map(drug_and_dose, rows["label"])) if len(rows) else ((), ())
    table = rows.assign(drug=list(drug), dose=np.asarray(dose, np.float64))
    return table[table["dose"].notna()].sort_values("dose", kind="stable")


def chosen_drug(rows: pd.DataFrame, drug: str | None) -> str:
    """Return the drug to draw: the one named, or the only one.

    Raises
    ------
    KeyError
        The drug named has no dose among the rows.
    ValueError
        There is none, or there are several.
    """
    found = list(dict.fromkeys(rows["drug"]))
    if not found:
        msg = (
            "expected a drug at several doses; found no label with a dose. "
            'Predict some: `spm.tl.predict(adata, [f"dasatinib@{dose}" for dose in doses])`.'
        )
        raise ValueError(msg)
    if drug is None and len(found) > 1:
        msg = f"`predicted` holds {len(found)} drugs. Name one, such as `drug={found[0]!r}`. Found: {found[:10]}."
        raise ValueError(msg)
    if drug is not None and drug not in found:
        msg = f"`predicted` has no dose of {drug!r}.{did_you_mean(drug, found)}"
        raise KeyError(msg)
    return found[0] if drug is None else drug


def unit_of(measured: AnnData | None, drug: str) -> str:
    """Return the unit of the doses of a drug in a screen, nothing where it says none, or several."""
    if measured is None or _keys.DOSE_UNIT not in measured.obs:
        return ""
    labels = measured.obs[_keys.PERTURBATION].astype("category")
    mine = [label for label in labels.cat.categories if drug_and_dose(str(label))[0] == drug]
    units = set(measured.obs.loc[labels.isin(mine).to_numpy(), _keys.DOSE_UNIT].dropna().astype(str))
    return units.pop() if len(units) == 1 else ""


def written(unit: str) -> str:
    """Return a unit as a figure shows it: ``µM`` for ``uM``."""
    return "\N{MICRO SIGN}" + unit[1:] if unit.startswith("u") else unit
