"""Which kind of perturbation goes with which name in a screen, and so which labels must show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from scperturbmamba.data.conditions import Condition, Part

DRUG = "drug"
_GAIN, _LOSS = ("CRISPRa", "overexpression"), ("CRISPRi", "knockout")


def direction(kind: str) -> int:
    """Return 1 for a kind that gives more of a gene, -1 for one that takes it away, 0 for what is neither."""
    return int(kind in _GAIN) - int(kind in _LOSS)


@dataclass(frozen=True)
class Kinds:
    """The kinds of a screen.

    Attributes
    ----------
    usual
        The most common kind of a part, empty where nothing is known.
    own
        (name, kind) of every name that occurs under one kind.
    several
        Names that occur under more than one kind; their labels show it.
    """

    usual: str = ""
    own: tuple[tuple[str, str], ...] = ()
    several: tuple[str, ...] = ()

    @classmethod
    def of(cls, conditions: Iterable[Condition]) -> Kinds:
        """Read the kinds of complete conditions."""
        parts = [part for condition in conditions for part in condition.parts]
        found: dict[str, set[str]] = {}
        for part in parts:
            found.setdefault(part.name, set()).add(part.kind)
        counted = Counter(part.kind for part in parts).most_common(1)
        return cls(
            usual=counted[0][0] if counted else "",
            own=tuple(sorted((name, min(kinds)) for name, kinds in found.items() if len(kinds) == 1)),
            several=tuple(sorted(name for name, kinds in found.items() if len(kinds) > 1)),
        )

    def label(self, condition: Condition) -> str:
        """Return the label as the screen writes it."""
        shown = set(self.several)
        return Condition(
            tuple(part if part.name in shown else replace(part, kind="") for part in condition.parts)
        ).label

    def complete(self, condition: Condition) -> Condition:
        """Give every part without a kind that of its name in the screen; a dose makes a new one a drug."""
        own = dict(self.own)
        return Condition(tuple(self._with(part, own.get(part.name)) for part in condition.parts))

    def _with(self, part: Part, own: str | None) -> Part:
        usual = DRUG if part.dose is not None else self.usual
        return part if part.kind else replace(part, kind=usual if own is None else own)
