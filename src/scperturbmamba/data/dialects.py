"""Read the label dialects of public screens into canonical conditions, once, at the door."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.control_names import is_control_name

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
_DOSED = re.compile(r"^(?P<name>.+)@\s*(?P<dose>\d+(?:\.\d+)?(?:e[+-]?\d+)?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """How one label was read.

    Attributes
    ----------
    condition
        The canonical condition.
    unit
        The unit of the dose, where the label names one.
    """

    condition: Condition
    unit: str = ""


def kind_of(word: str) -> str:
    """Return the kind that a word names (``"KO"``, ``"CRISPRa"``, ``"compound"``), empty where it names none."""
    return _KIND_WORDS.get(re.sub(r"[\s_\-]+", "", str(word)).casefold(), "")


def read_label(label: str, known: Collection[str], *, separator: str | None = None) -> Reading:
    """Read one label of any dialect.

    Parameters
    ----------
    label
        As it stands in the user's column.
    known
        Names that stand alone in the screen (labels without a separator, measured genes): they decide whether an
        underscore joins two parts or belongs to a name.
    separator
        What joins two parts, where the user says so.
    """
    text = label.strip()
    if _TUPLE.match(text):
        return _read_tuples(text)
    text = _CELL_PREFIX.sub(r"\1", text)
    if separator is None and text not in known:
        text = _gears_condition(text, known)
    if is_control_name(text):
        return Reading(Condition())
    parts = [_read_part(piece) for piece in _cut(text, known, separator) if not is_control_name(piece)]
    return Reading(Condition(tuple(part for part in parts if not is_control_name(part.name))))


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
    parts = tuple(Part(str(row[0]), "drug", _number(row[1], text) if len(row) > 1 else None) for row in dosed)
    units = {str(row[2]) for row in dosed if len(row) > 2}
    return Reading(Condition(parts), units.pop() if len(units) == 1 else "")


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
        return [part.label for part in Condition.parse(text).parts]
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
    for letter in text:
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "+" and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return [piece.strip() for piece in pieces] if depth == 0 else [text]


def _is_canonical(text: str) -> bool:
    try:
        return Condition.parse(text).label == text
    except ValueError:
        return False


def _read_part(text: str) -> Part:
    dosed = _DOSED.match(text)
    if dosed and not _ends_escaped(dosed["name"]):
        return replace(_read_named(dosed["name"].strip()), dose=float(dosed["dose"]))
    return _read_named(text)


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
    names = Condition.parse(text).names if "\\" in text and _is_canonical(text) else ()
    return names[0] if len(names) == 1 else text


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
