"""Each different label of a screen, read once, with a report of what looks wrong."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping

import pandas as pd

from scperturbmamba.data.conditions import Condition, part_names
from scperturbmamba.data.control_names import fold, is_multiplet_name, is_unlabelled_name, resembles_control
from scperturbmamba.data.dialects import Reading, read_label

_log = logging.getLogger("scperturbmamba")

Readings = dict[str, Reading | None]


def read_labels(raw: pd.Series, genes: set[str], controls: set[str], separator: str | None) -> Readings:
    """Read each different label once; None where it says that there is no label.

    Raises
    ------
    ValueError
        A label cannot be read, or no cell has one.
    """
    labels = [str(label) for label in raw.unique()]
    alone = {label for label in labels if not any(mark in label for mark in "+_|;,")}
    known = alone | genes | {name for name in labels if fold(name) in controls}
    readings: Readings = {}
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
    return Reading(Condition(parts), reading.units)


def report(readings: Mapping[str, Reading | None], genes: set[str], *, has_control: bool) -> None:
    """Warn of mixed spellings of the control, of likely typos, and of conditions that differ by case only."""
    read = {label: one.condition for label, one in readings.items() if one is not None}
    controls = sorted(label for label, condition in read.items() if condition.is_control)
    if len(controls) > 1:
        _log.info("labels %s were all read as the control", controls)
    if not has_control:
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
