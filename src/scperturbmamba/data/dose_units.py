"""Units of dose: their families, their spellings, and how one is converted into another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MOLAR, MASS, BODY, PERCENT, RELATIVE = "molar", "mass concentration", "body dose", "percent", "relative"

_UNITS: Final[Mapping[str, tuple[str, int]]] = MappingProxyType(
    {
        "M": (MOLAR, 0), "mM": (MOLAR, -3), "uM": (MOLAR, -6), "nM": (MOLAR, -9), "pM": (MOLAR, -12),
        "g/L": (MASS, 0), "mg/mL": (MASS, 0), "ug/mL": (MASS, -3), "ng/mL": (MASS, -6), "pg/mL": (MASS, -9),
        "mg/kg": (BODY, 0), "ug/kg": (BODY, -3),
        "%": (PERCENT, 0),
        "relative": (RELATIVE, 0),
    }
)  # fmt: skip
_SPELLINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{unit.casefold(): unit for unit in _UNITS},
        "molar": "M", "millimolar": "mM", "micromolar": "uM", "nanomolar": "nM", "picomolar": "pM",
        "mol/l": "M", "mmol/l": "mM", "umol/l": "uM", "nmol/l": "nM", "pmol/l": "pM",
        "mg/l": "ug/mL", "ug/l": "ng/mL", "ng/l": "pg/mL", "percent": "%",
    }
)  # fmt: skip
_UNCLEAR = frozenset({"m", "MM", "Mm"})  # molar or millimolar: the case alone tells them apart
_MICRO = re.compile("\N{MICRO SIGN}|\N{GREEK SMALL LETTER MU}|mc(?=[gM])")

KNOWN = tuple(_UNITS)


def find_unit(text: str) -> str:
    """Return a unit in its one spelling, ``"uM"`` for ``"µM"`` and ``"um"``, or nothing where it is none of ours."""
    word = _MICRO.sub("u", re.sub(r"\s+per\s+", "/", str(text).strip()))
    word = re.sub(r"\s+", "", word)
    if word in _UNITS:
        return word
    return "" if word in _UNCLEAR else _SPELLINGS.get(word.casefold(), "")


def read_unit(text: str) -> str:
    """Return a unit in its one spelling.

    Raises
    ------
    ValueError
        It is none of the known ones, or it leaves open whether molar or millimolar is meant.
    """
    unit = find_unit(text)
    if not unit:
        meant = " Molar is written 'M', millimolar 'mM'." if str(text).strip() in _UNCLEAR else ""
        msg = f"a unit of dose is one of {list(KNOWN)}, spelt in any usual way; found {text!r}.{meant}"
        raise ValueError(msg)
    return unit


def family_of(unit: str) -> str:
    """Return the family of a unit; within one, and only there, doses can be converted."""
    return _UNITS[unit][0]


def convert(dose: float, unit: str, wanted: str) -> float:
    """Return a dose in another unit of the same family, to 12 digits.

    Raises
    ------
    ValueError
        The units are of two families.
    """
    if family_of(unit) != family_of(wanted):
        msg = (
            f"a dose in {unit!r} ({family_of(unit)}) cannot be converted to {wanted!r} ({family_of(wanted)}). "
            f"Give it in {units_of_family(wanted)}."
        )
        raise ValueError(msg)
    power = _UNITS[unit][1] - _UNITS[wanted][1]
    return float(f"{dose * 10.0**power if power >= 0 else dose / 10.0**-power:.12g}")


def common_units(counts: Mapping[str, int]) -> dict[str, str]:
    """Return, for each unit, the unit of its family that occurs most often, and of several the largest."""
    families: dict[str, list[str]] = {}
    for unit in counts:
        families.setdefault(family_of(unit), []).append(unit)
    best = {
        family: max(units, key=lambda unit: (counts[unit], _UNITS[unit][1], -KNOWN.index(unit)))
        for family, units in families.items()
    }
    return {unit: best[family_of(unit)] for unit in counts}


def units_of_family(unit: str) -> list[str]:
    """Return the units that one can be converted to, itself included."""
    return [other for other in KNOWN if family_of(other) == family_of(unit)]
