"""Tables as HTML: everything that comes from data is escaped, numbers stand at the right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

Cell = str  # a whole ``<td>`` or ``<th>``


def text(value: object, kind: str = "") -> Cell:
    """Return a cell of words."""
    return f"<td{_kind(kind)}>{escape(str(value))}</td>"


def heading(value: object, kind: str = "") -> Cell:
    """Return the cell that names a row."""
    return f'<th scope="row"{_kind(kind)}>{escape(str(value))}</th>'


def number(value: float, digits: int = 3, *, kind: str = "", beneath: str = "") -> Cell:
    """Return a cell with a number, a dash where there is none, and small text beneath."""
    small = f"<small>{escape(beneath)}</small>" if beneath else ""
    return f"<td{_kind(f'n {kind}'.strip())}>{plain_number(value, digits)}{small}</td>"


def whole(value: float) -> Cell:
    """Return a cell with a count."""
    return f'<td class="n">{int(value):,}</td>'


def plain_number(value: float, digits: int = 3) -> str:
    """Return a number with so many decimals and a true minus sign; a dash for NaN."""
    if not math.isfinite(value):
        return "–"
    shown = f"{value:,.{digits}f}"
    if float(shown.replace(",", "")) == 0:
        shown = shown.removeprefix("-")
    return shown.replace("-", "−")


def digits_for(values: Sequence[float]) -> int:
    """Return how many decimals a column needs so that its largest number has three or four digits."""
    known = [abs(value) for value in values if math.isfinite(value)]
    largest = max(known, default=1.0)
    return 3 if largest < 10 else 2 if largest < 100 else 1 if largest < 1000 else 0


def best_of(values: Sequence[float], counted: Sequence[bool], *, low: bool) -> set[int]:
    """Return the places of the best of the numbers that count."""
    known = [value for value, one in zip(values, counted) if one and math.isfinite(value)]
    if not known:
        return set()
    choose: Callable[[list[float]], float] = min if low else max
    best = choose(known)
    return {place for place, (value, one) in enumerate(zip(values, counted)) if one and value == best}


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, numbers_from: int = 1, over: str = "", kind: str = ""
) -> str:
    """Return a table that scrolls sideways where it is too wide; ``over`` is a first row of headings, ready made."""
    heads = "".join(
        f'<th scope="col"{_kind("n" if place >= numbers_from else "")}>{escape(name)}</th>'
        for place, name in enumerate(columns)
    )
    body = "".join(f"<tr>{''.join(row)}</tr>\n" for row in rows)
    head = f"<thead>{over}<tr>{heads}</tr></thead>"
    return f'<div class="scroll"><table{_kind(kind)}>{head}\n<tbody>\n{body}</tbody></table></div>\n'


def definitions(pairs: Sequence[tuple[str, str]]) -> str:
    """Return terms with what they mean."""
    inside = "".join(f"<dt>{escape(term)}</dt><dd>{escape(words)}</dd>\n" for term, words in pairs)
    return f"<dl>\n{inside}</dl>\n"


def folded(title: str, inside: str, *, is_open: bool = False) -> str:
    """Return what opens on a click, and is open in print."""
    return f"<details{' open' if is_open else ''}><summary>{escape(title)}</summary>\n{inside}</details>\n"


def paragraph(words: str, kind: str = "") -> str:
    """Return a paragraph of escaped words."""
    return f"<p{_kind(kind)}>{escape(words)}</p>\n"


def _kind(name: str) -> str:
    return f' class="{name}"' if name else ""
