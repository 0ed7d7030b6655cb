"""Read the label dialects of public screens into canonical conditions, once, at the door."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.control_names import is_control_name

_KIND_WORDS = {
    "ko": "knockout", "knockout": "knockout", "crispr": "knockout", "crisprko": "knockout", "cas9": "knockout",
    "kd": "CRISPRi", "knockdown": "CRISPRi", "crispri": "CRISPRi", "interference": "CRISPRi", "i": "",
    "activation": "CRISPRa", "crispra": "CRISPRa", "activated": "CRISPRa",
    "oe": "overexpression", "overexpression": "overexpression", "orf": "overexpression", "cdna": "overexpression",
    "drug": "drug", "chemical": "drug", "compound": "drug", "other": "other",
}  # fmt: skip
_KIND_SUFFIX = re.compile(r"^(.+?)[_\- ](KO|KD|OE|ORF|knockout|knockdown|activation|overexpression|CRISPR[ia])$", re.I)
_TUPLE = re.compile(r"^\s*\[?\s*\(.*\)\s*,?\s*\]?\s*$", re.DOTALL)
_GEARS_NAME = re.compile(r"^(?P<cell>.+?)_(?P<condition>[^_]+(?:\+[^_]+)*)_1(?:\+1)?$")
_CELL_PREFIX = re.compile(r"^.+?_---_(.+)$")
_DOSED = re.compile(r"^(?P<name>.+)@(?P<dose>\d+(?:\.\d+)?(?:e[+-]?\d+)?)$", re.IGNORECASE)


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
    gears = _GEARS_NAME.match(text)
    if gears and separator is None and text not in known:
        text = gears["condition"]
    if is_control_name(text):
        return Reading(Condition())
    parts = [_read_part(piece) for piece in _cut(text, known, separator) if not is_control_name(piece)]
    return Reading(Condition(tuple(parts)))


def _read_tuples(text: str) -> Reading:
    """Read ``[('crizotinib', 0.05, 'uM')]``, the dialect of drug screens that list name, dose and unit."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        msg = f"label {text!r} looks like a list of (name, dose, unit) but cannot be read. Write 'name@dose'."
        raise ValueError(msg) from None
    rows = [found] if isinstance(found, tuple) else list(found)
    dosed = [row for row in rows if not is_control_name(str(row[0]))]
    parts = tuple(Part(str(row[0]), "drug", float(row[1]) if len(row) > 1 else None) for row in dosed)
    units = {str(row[2]) for row in dosed if len(row) > 2}
    return Reading(Condition(parts), units.pop() if len(units) == 1 else "")


def _cut(text: str, known: Collection[str], separator: str | None) -> list[str]:
    """Return the parts of a combination; a label that is itself a known name is one part."""
    if separator is not None:
        return [piece.strip() for piece in text.split(separator) if piece.strip()]
    if "\\" in text and _is_canonical(text):
        return [part.label for part in Condition.parse(text).parts]
    pieces = [piece.strip() for piece in text.split("+")]
    if all(_stands_alone(piece) for piece in pieces):
        return pieces
    for mark in ("|", ";", ",", "__", "_"):
        pieces = [piece.strip() for piece in text.split(mark)]
        if len(pieces) > 1 and all(piece in known or is_control_name(piece) for piece in pieces):
            return pieces
    return [text]


def _stands_alone(piece: str) -> bool:
    """Tell whether a piece between two ``+`` can be a part: it starts like a name and closes its brackets."""
    return piece[:1].isalnum() and piece.count("(") == piece.count(")") and piece.count("[") == piece.count("]")


def _is_canonical(text: str) -> bool:
    try:
        return Condition.parse(text).label == text
    except ValueError:
        return False


def _read_part(text: str) -> Part:
    dosed = _DOSED.match(text)
    if dosed and "\\@" not in text:
        return Part(dosed["name"].strip(), "", float(dosed["dose"]))
    if "\\" in text or ":" in text:
        parsed = _canonical(text)
        if parsed is not None:
            return parsed
    named = _KIND_SUFFIX.match(text)
    if named:
        return Part(named[1], kind_of(named[2]))
    return Part(text)


def _canonical(text: str) -> Part | None:
    """Return the part that a canonical label such as ``MYC:CRISPRa`` names, None where it is no such label."""
    try:
        condition = Condition.parse(text)
    except ValueError:
        return None
    if len(condition.parts) != 1:
        return None
    part = condition.parts[0]
    kind = part.kind if not part.kind or part.kind in set(_KIND_WORDS.values()) else kind_of(part.kind)
    return Part(part.name, kind, part.dose) if (kind or not part.kind) else None


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
