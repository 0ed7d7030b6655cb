"""Drugs × doses: what a screen asks of every drug."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.data.kinds import DRUG
from scperturbmamba.models.frame import Frame


def known_drugs(frame: Frame, tables: Sequence[FeatureTable]) -> list[str]:
    """Return the drugs of the training, and those that tables describe, sorted.

    A drug of the training has a dose there, or is of that kind and no measured gene.
    """
    genes = frozenset(frame.encoder.genes)
    parts = [part for label, _ in frame.seen for part in Condition.parse(label).parts]
    trained = {part.name for part in parts if part.dose is not None}
    trained |= {name for name, kind in frame.kinds.own if kind == DRUG and name not in genes}
    described = {name for table in tables if table.source.startswith(_keys.DRUG_PREFIX) for name in table.names}
    return sorted(trained | described)


def at_doses(
    conditions: Sequence[Condition], doses: Sequence[float], drugs: Collection[str], genes: Collection[str]
) -> list[Condition]:
    """Return the conditions with every drug that has no dose at each dose; what has one, or is a gene, stays.

    A part is a drug where it is among the known ``drugs``, or of that kind and not among the measured ``genes``.

    Raises
    ------
    ValueError
        A dose is negative or no number, there is none, or no condition has a drug without a dose.
    """
    numbers = _checked(doses)
    parts = {part for condition in conditions for part in condition.parts}
    known = {*drugs, *({part.name for part in parts if part.kind == DRUG} - set(genes))}
    is_open = [[part.dose is None and part.name in known for part in condition.parts] for condition in conditions]
    if not any(map(any, is_open)):
        some = [condition.label for condition in conditions[:3]]
        msg = (
            f"`doses` are for drugs that are asked for without a dose; found none among {some}. Name drugs, such as "
            f"{sorted(known)[:3]}, or leave `doses` out."
        )
        raise ValueError(msg)
    found = [
        Condition(tuple(part if dose is None else replace(part, dose=dose) for part, dose in zip(one.parts, chosen)))
        for one, free in zip(conditions, is_open)
        for chosen in product(*[numbers if takes else [None] for takes in free])
    ]
    return list(dict.fromkeys(found))


def _checked(doses: Sequence[float]) -> list[float]:
    try:
        numbers = np.asarray(doses, np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if numbers.ndim != 1 or not numbers.size or not (np.isfinite(numbers) & (numbers >= 0)).all():
        msg = f"`doses` must be one or more numbers, none below 0, such as [0.1, 1, 10]; found {doses!r}."
        raise ValueError(msg)
    return [float(one) for one in numbers]
