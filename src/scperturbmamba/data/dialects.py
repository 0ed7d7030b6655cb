"""Read the label dialects of public screens into canonical conditions, once, at the door."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from scperturbmamba.data.conditions import Condition, Part, parse_parts
from scperturbmamba.data.control_names import is_control_name
from scperturbmamba.data.dose_units import common_units, convert, find_unit, read_unit

_KIND_WORDS = {
    "ko": "knockout", "knockout": "knockout", "crispr": "knockout", "crisprko": "knockout", "cas9": "knockout",
    "crisprcas9": "knockout", "kd": "CRISPRi", "knockdown": "CRISPRi", "crispri": "CRISPRi", "interference": "CRISPRi",
    "activation": "CRISPRa", "crispra": "CRISPRa", "activated": "CRISPRa",
    "oe": "overexpression", "overexpression": "overexpression", "orf": "overexpression", "cdna": "overexpression",
    "drug": "drug", "chemical": "drug", "compound": "drug", "other": "other",
}  # fmt: skip
_KIND_SUFFIX = re.compile(r"^(.+?)[_\- ](KO|KD|OE|ORF|knockout|knockdown|activation|overexpression|CRISPR[ia])$", re.I)
_KINDED = re.compile(r"^(?P<name>.+):(?P<kind>[^:\\]+)$")
_TUPLE = re.compile(r"^\[?\s*\(\s*['\"].*\)\s*,?\s*\]?$", re.DOTALL)
_GEARS_NAME = re.compile(r"^(?P<cell>.+?)_(?P<condition>[^_]+)_1(?P<pair>\+1)?$")
_TWICE = re.compile(r"^(?P<targets>.+)__(?P=targets)$")
_CELL_PREFIX = re.compile(r"^.+?_---_(.+)$")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_EXPONENT = re.compile(r"(@\s*\d+(?:\.\d+)?[eE])\+(?=\d)")  # a plus that joins no parts: dasatinib@1e+04
_DOSED = re.compile(r"^(?P<name>.+)@\s*(?P<dose>\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(?P<unit>[^\d\s.].*)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """How one label was read.

    Attributes
    ----------
    condition
        The canonical condition.
    units
        Name and unit of each drug whose unit the label names; doses of one family are all in one unit.
    """

    condition: Condition
    units: tuple[tuple[str, str], ...] = ()

    @property
    def unit(self) -> str:
        """The unit of every dose of the label, where it names one for all; else empty."""
        named = dict(self.units)
        found = {named.get(part.name, "") for part in self.condition.parts if part.dose is not None}
        return found.pop() if len(found) == 1 else ""

    def in_units(self, wanted: Mapping[str, str]) -> Condition:
        """Return the condition with the dose of each drug in the unit wanted for its name.

        Raises
        ------
        ValueError
            A unit of the label is of another family than the one wanted.
        """
        named = dict(self.units)
        return Condition(
            tuple(
                _in_unit(part, named[part.name], wanted[part.name])
                if part.name in named and wanted.get(part.name)
                else part
                for part in self.condition.parts
            )
        )


def kind_of(word: str) -> str:
    """Return the kind that a word names (``"KO"``, ``"CRISPRa"``, ``"compound"``), empty where it names none."""
    return _KIND_WORDS.get(re.sub(r"[\s_\-]+", "", str(word)).casefold(), "")


def read_label(label: str, known: Collection[str], *, separator: str | None = None) -> Reading:
    """Read one label of any dialect; a dose may carry a unit, as in ``dasatinib@10 nM``.

    Parameters
    ----------
    label
        As it stands in the user's column.
    known
        Names that stand alone in the screen (labels without a separator, measured genes): they decide whether an
        underscore joins two parts or belongs to a name.
    separator
        What joins two parts, where the user says so.

    Raises
    ------
    ValueError
        A list of (name, dose, unit) cannot be read, or a drug has doses that cannot be converted into each other.
    """
    text = label.strip()
    if _TUPLE.match(text):
        return _read_tuples(text)
    text = _CELL_PREFIX.sub(r"\1", text)
    if separator is None and text not in known:
        text = _gears_condition(text, known)
    if is_control_name(text):
        return Reading(Condition())
    return _reading([_read_part(piece) for piece in _cut(text, known, separator) if not is_control_name(piece)], text)


def _reading(found: Sequence[tuple[Part, str]], label: str) -> Reading:
    """Return the reading of parts and their units; doses of one family get the commonest unit of the label."""
    found = [(part, unit) for part, unit in found if not is_control_name(part.name) and part.dose != 0]
    counts = Counter(unit for _, unit in found if unit)
    wanted = common_units(counts)
    parts = [_in_unit(part, unit, wanted[unit]) if unit else part for part, unit in found]
    units = {(part.name, wanted[unit]) for part, unit in found if unit}
    if len(dict(units)) < len(units):
        msg = (
            f"label {label!r} has doses of one drug in units that cannot be converted: {sorted(counts)}. Give one unit."
        )
        raise ValueError(msg)
    return Reading(Condition(tuple(parts)), tuple(sorted(units)))


def _in_unit(part: Part, unit: str, wanted: str) -> Part:
    return part if part.dose is None else replace(part, dose=convert(part.dose, unit, wanted))


def _gears_condition(text: str, known: Collection[str]) -> str:
    """Return the condition in ``A549_CBL+CNN1_1+1`` or ``A549_ctrl_1``, and any other label as it is."""
    found = _GEARS_NAME.match(text)
    if found and found["cell"] not in known and (found["pair"] or is_control_name(found["condition"])):
        return found["condition"]
    return text


def _read_tuples(text: str) -> Reading:
    """Read ``[('crizotinib', 0.05, 'uM')]``, the dialect of drug screens that list name, dose and unit."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        msg = f"label {text!r} looks like a list of (name, dose, unit) but cannot be read. Write 'name@dose'."
        raise ValueError(msg) from None
    rows = [found] if isinstance(found, tuple) else list(found)
    dosed = [row for row in rows if not is_control_name(str(row[0]))]
    parts = [Part(str(row[0]), "drug", _number(row[1], text) if len(row) > 1 else None) for row in dosed]
    units = [read_unit(str(row[2])) if len(row) > 2 and part.dose else "" for row, part in zip(dosed, parts)]
    return _reading(list(zip(parts, units)), text)


def _number(value: object, label: str) -> float:
    try:
        return float(str(value))
    except ValueError:
        msg = f"label {label!r} has the dose {value!r}, which is no number. Write (name, dose, unit)."
        raise ValueError(msg) from None


def _cut(text: str, known: Collection[str], separator: str | None) -> list[str]:
    """Return the parts of a combination; a label that is itself a known name is one part."""
    if separator is not None:
        return [piece.strip() for piece in text.split(separator) if piece.strip()] or [text]
    if "\\" in text and _is_canonical(text):
        return [replace(part, name=part.name.strip() or part.name).label for part in parse_parts(text)]
    if text in known:
        return [text]
    pieces = _outside_brackets(text)
    if all(piece[:1].isalnum() or piece[:1] in _OPENING for piece in pieces) and len(pieces) > 1:
        return pieces
    twice = _TWICE.match(text)
    if twice and twice["targets"].count("_") == 1:
        return twice["targets"].split("_")
    for mark in ("|", ";", ",", "__", "_"):
        pieces = [piece.strip() for piece in text.split(mark)]
        if len(pieces) > 1 and all(piece in known or is_control_name(piece) for piece in pieces):
            return pieces
    return [text]


def _outside_brackets(text: str) -> list[str]:
    """Cut at every ``+`` that stands in no brackets: ``(+)-JQ1+TP53`` has two pieces."""
    pieces, depth = [""], 0
    for letter in _EXPONENT.sub(r"\1", text):
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "+" and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return [piece.strip() for piece in pieces] if depth == 0 else [text]


def _is_canonical(text: str) -> bool:
    try:
        return "+".join(part.label for part in parse_parts(text)) == text
    except ValueError:
        return False


def _read_part(text: str) -> tuple[Part, str]:
    """Return a part, and the unit that stands after its dose."""
    dosed = _DOSED.match(text)
    unit = find_unit(dosed["unit"]) if dosed and dosed["unit"] else ""
    if dosed and not _ends_escaped(dosed["name"]) and bool(unit) == bool(dosed["unit"]):
        return replace(_read_named(dosed["name"].strip()), dose=float(dosed["dose"])), unit
    return _read_named(text), ""


def _read_named(text: str) -> Part:
    """Read a name with what was done to it: ``MYC:CRISPRa``, ``MYC:activation``, ``MYC_activation``."""
    kinded = _KINDED.match(text)
    if kinded and kind_of(kinded["kind"]) and not _ends_escaped(kinded["name"]):
        return Part(_unescaped(kinded["name"]), kind_of(kinded["kind"]))
    suffixed = _KIND_SUFFIX.match(text)
    if suffixed:
        return Part(_unescaped(suffixed[1]), kind_of(suffixed[2]))
    return Part(_unescaped(text))


def _ends_escaped(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def _unescaped(text: str) -> str:
    """Return the name that a canonical label writes with backslashes; any other text is a name as it is."""
    parts = parse_parts(text) if "\\" in text and _is_canonical(text) else ()
    return parts[0].name if len(parts) == 1 else text


def looks_like_column_of(column: str) -> str:
    """Return the kind that a column's name suggests: CRISPR words give knock-out, chemical words a drug, else empty."""
    folded = column.casefold()
    if any(word in folded for word in ("crispri", "knockdown")):
        return "CRISPRi"
    if "crispra" in folded:
        return "CRISPRa"
    if any(word in folded for word in ("guide", "sgrna", "gene_target", "crispr")):
        return "knockout"
    if any(word in folded for word in ("drug", "compound", "treatment", "dose", "chemical")):
        return "drug"
    return ""
