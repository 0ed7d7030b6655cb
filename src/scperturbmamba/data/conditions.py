r"""A condition is a set of parts; the empty set is the control. Here is the grammar of its label.

``control``, ``TP53``, ``MYC+TP53`` (sorted), ``dasatinib@10``, ``TP53+dasatinib@10``, ``MYC:CRISPRa``.
A part at dose 0 is no part: ``dasatinib@0`` is the control, and ``TP53+dasatinib@0`` is ``TP53``.
A ``+``, ``@``, ``:`` or ``\`` inside a name is written with a backslash before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from scperturbmamba._keys import CONTROL

KINDS = ("knockout", "CRISPRi", "CRISPRa", "overexpression", "drug", "other")

_SPECIAL = re.compile(r"([\\+@:])")
_TOKEN = re.compile(r"\\(.)|([+@:])|([^\\+@:]+)", re.DOTALL)


@dataclass(frozen=True, order=True)
class Part:
    """One thing that was done: a gene, or a drug at a dose.

    Attributes
    ----------
    name
        Gene symbol or drug name, as written by the user.
    kind
        One of ``KINDS``, or empty where the screen says nothing.
    dose
        Dose of a drug in the unit of ``obs["dose_unit"]``, to 12 digits, or None.
    """

    name: str
    kind: str = ""
    dose: float | None = None

    def __post_init__(self) -> None:
        if not self.name:
            msg = "a part needs a name, a gene or a drug; found none."
            raise ValueError(msg)
        if self.kind and self.kind not in KINDS:
            msg = (
                f"what was done to {self.name!r} must be one of {list(KINDS)}; found {self.kind!r}. "
                "A ':' inside a name is written '\\:'."
            )
            raise ValueError(msg)
        if self.dose is None:
            return
        if not 0 <= self.dose < float("inf"):
            msg = f"a dose is finite and not negative; found {self.dose!r} for {self.name!r}."
            raise ValueError(msg)
        object.__setattr__(self, "dose", float(f"{self.dose + 0.0:.12g}"))

    @property
    def label(self) -> str:
        """The part in the grammar above."""
        text = _SPECIAL.sub(r"\\\1", self.name)
        if text == CONTROL:
            text = f"\\{CONTROL}"
        if self.kind:
            text += f":{self.kind}"
        if self.dose is not None:
            text += f"@{self.dose:.12g}".replace("e+", "e")
        return text


@dataclass(frozen=True)
class Condition:
    """An unordered set of parts; the empty set is the control, and so is a drug at dose 0.

    Examples
    --------
    >>> from scperturbmamba.data.conditions import Condition
    >>> Condition.parse("TP53+MYC").label
    'MYC+TP53'
    >>> Condition.parse("control").parts
    ()
    >>> Condition.parse("TP53+dasatinib@0").label
    'TP53'
    """

    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        done = {part for part in self.parts if part.dose != 0}
        object.__setattr__(self, "parts", tuple(sorted(done, key=_rank)))

    @classmethod
    def of(cls, *names: str, kind: str = "") -> Condition:
        """Build a condition from names that are taken as they are."""
        return cls(tuple(Part(name, kind) for name in names))

    @classmethod
    def parse(cls, label: str) -> Condition:
        """Read a canonical label; raise ValueError where it breaks the grammar."""
        if label == CONTROL:
            return cls()
        return cls(parse_parts(label))

    @property
    def label(self) -> str:
        """The canonical label: parts sorted, joined by ``+``."""
        return "+".join(part.label for part in self.parts) or CONTROL

    @property
    def is_control(self) -> bool:
        """Whether nothing was done."""
        return not self.parts

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts, sorted."""
        return tuple(part.name for part in self.parts)

    @property
    def dose(self) -> float:
        """The dose of the one part that has one; NaN where none has, or several."""
        doses = [part.dose for part in self.parts if part.dose is not None]
        return doses[0] if len(doses) == 1 else float("nan")

    def with_kind(self, kind: str) -> Condition:
        """Give every part that has no kind of its own this one."""
        return Condition(tuple(part if part.kind else replace(part, kind=kind) for part in self.parts))

    def without_kinds(self) -> Condition:
        """Drop the kinds, as in the label of a screen with one kind only."""
        return Condition(tuple(replace(part, kind="") for part in self.parts))


def parse_parts(label: str) -> tuple[Part, ...]:
    """Read the parts of a canonical label as they stand there, those at dose 0 too."""
    return tuple(_parse_part(tokens, label) for tokens in _split_parts(label))


def _rank(part: Part) -> tuple[str, str, float]:
    return part.name, part.kind, -1.0 if part.dose is None else part.dose


def _split_parts(label: str) -> list[list[tuple[str, bool]]]:
    """Cut a label at every bare ``+`` into tokens ``(text, is_mark)``."""
    parts: list[list[tuple[str, bool]]] = [[]]
    end = 0
    for match in _TOKEN.finditer(label):
        end = match.end()
        escaped, mark, text = match.groups()
        if mark == "+":
            parts.append([])
        else:
            parts[-1].append((mark, True) if mark else (escaped or text, False))
    if end != len(label):
        msg = f"label {label!r} ends in a lone backslash. Write a backslash in a name as two."
        raise ValueError(msg)
    return parts


def _parse_part(tokens: list[tuple[str, bool]], label: str) -> Part:
    fields = {"": ""}
    current = ""
    for text, is_mark in tokens:
        if is_mark and text in fields:
            msg = f"label {label!r} has {text!r} twice in one part. Inside a name it is written '\\{text}'."
            raise ValueError(msg)
        current = text if is_mark else current
        fields[current] = fields.get(current, "") + ("" if is_mark else text)
    if not fields[""]:
        msg = f"label {label!r} has an empty part. Write parts as 'A', 'A+B', 'drug@10' or 'A:CRISPRa'."
        raise ValueError(msg)
    dose = _dose(fields["@"], label) if "@" in fields else None
    return Part(fields[""], fields.get(":", ""), dose)


def _dose(text: str, label: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"label {label!r} has the dose {text!r}, which is no number. Write 'drug@10', and '\\@' inside a name."
        raise ValueError(msg) from None


def part_names(conditions: Iterable[Condition]) -> list[str]:
    """Return the names of all parts, each once, sorted."""
    return sorted({name for condition in conditions for name in condition.names})
