"""One unit of dose per family for a whole screen."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.dose_units import common_units, convert, family_of


@dataclass(frozen=True)
class Dosed:
    """A condition, with the unit of each dose.

    Attributes
    ----------
    condition
        Doses in ``units``.
    units
        (name, unit) of every drug whose unit is known.
    was
        The units in which the doses were given, where others.
    n_cells
        Cells that it stands for.
    """

    condition: Condition
    units: tuple[tuple[str, str], ...] = ()
    was: tuple[str, ...] = ()
    n_cells: int = 1

    @property
    def unit(self) -> str:
        """The units of the doses, joined by ``+``."""
        return "+".join(sorted({unit for _, unit in self.units}))


def in_common_units(found: Sequence[Dosed | None]) -> list[Dosed | None]:
    """Convert all doses of a family to the unit that most cells have, of several the largest.

    Raises
    ------
    ValueError
        One drug has doses in units of two families.
    """
    counts: Counter[str] = Counter()
    by_name: dict[str, set[str]] = {}
    for one in found:
        for name, unit in one.units if one else ():
            counts[unit] += one.n_cells if one else 0
            by_name.setdefault(name, set()).add(unit)
    for name, units in sorted(by_name.items()):
        if len({family_of(unit) for unit in units}) > 1:
            msg = (
                f"the doses of {name!r} are in {sorted(units)}, which cannot be converted into each other. Give the "
                "doses of one drug in units of one family, or call them two drugs with `rename=`."
            )
            raise ValueError(msg)
    wanted = common_units(counts)
    _warn_of_unknown(found, by_name)
    return [one and _converted(one, wanted) for one in found]


def _converted(one: Dosed, wanted: dict[str, str]) -> Dosed:
    units = dict(one.units)
    parts = (
        replace(part, dose=convert(part.dose, units[part.name], wanted[units[part.name]]))
        if part.dose is not None and part.name in units
        else part
        for part in one.condition.parts
    )
    was = sorted({unit for unit in units.values() if wanted[unit] != unit})
    new = tuple((name, wanted[unit]) for name, unit in one.units)
    return replace(one, condition=Condition(tuple(parts)), units=new, was=tuple(was))


def _warn_of_unknown(found: Sequence[Dosed | None], by_name: dict[str, set[str]]) -> None:
    without = sorted(
        {
            part.name
            for one in found
            if one
            for part in one.condition.parts
            if part.dose is not None and part.name in by_name and part.name not in dict(one.units)
        }
    )
    if without:
        text = f"some doses of {without[:5]} have a unit and others none; those without were left as they are."
        warnings.warn(text, UserWarning, stacklevel=5)
