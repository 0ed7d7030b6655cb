"""Resolve gene symbols, aliases and Ensembl ids to the names of a reference, with a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from scperturbmamba.features.renames import RENAMES

SYMBOL_COLUMNS: Final = (
    "symbol", "genesymbol", "genesymbols", "genename", "genenames", "gene", "hgncsymbol", "externalgenename",
)  # fmt: skip
ID_COLUMNS: Final = (
    "ensemblid", "ensgene", "geneid", "geneids", "ensembl", "ensemblgeneid", "genestableid", "ensemblgene",
)  # fmt: skip

_VERSIONED = re.compile(r"(ENS[A-Z]*G\d{11})\.\d+", re.IGNORECASE)
_ENSEMBL = re.compile(r"ENS[A-Z]*G\d{11}", re.IGNORECASE)
_DATE = re.compile(r"(?:\d{4}-)?(?P<a>[A-Za-z]{3}|\d{1,2})-(?P<b>[A-Za-z]{3}|\d{1,2})(?: 00:00:00)?")
_MONTHS = {"mar": ("MARCH", "MARC"), "sep": ("SEPT", "SEP"), "dec": ("DEC",)}
_NUMBERED_MONTHS = {3: "mar", 9: "sep", 12: "dec"}


@dataclass
class _Reference:
    """The names of a reference, by spelling; ``others`` holds further names of the same genes."""

    exact: set[str] = field(default_factory=set)
    cut: dict[str, set[str]] = field(default_factory=dict)
    folded: dict[str, set[str]] = field(default_factory=dict)
    others: dict[str, set[str]] = field(default_factory=dict)

    def find(self, name: str) -> set[str]:
        """Return the known names that are spelt like this, by case and punctuation only if none is equal."""
        return {name} if name in self.exact else self.folded.get(fold(name), set())


def resolve_genes(
    names: Iterable[str],
    known: Iterable[str] | pd.DataFrame,
    *,
    aliases: Mapping[str, str | Sequence[str]] | None = None,
) -> tuple[pd.Series, pd.DataFrame]:
    """Say which name of a reference each gene name means, whichever of the two lists is the older.

    Tried in this order: the same name; an Ensembl id without its version; ``aliases``; the other columns of the
    reference (symbols, Ensembl ids); a difference of case or punctuation; an HGNC rename (``MARCH8`` and
    ``MARCHF8``); a date that a spreadsheet made of a symbol (``"8-Mar"``). A name that fits several is left unknown.

    Parameters
    ----------
    names
        Gene names, in any mixture.
    known
        Names of the reference, or a table whose index holds them and whose columns hold further names
        (``symbol``, ``gene_name``, ``ensembl_id``, ``gene_id`` and their like).
    aliases
        Other names of genes, each the same gene as its key; used both ways.

    Returns
    -------
    resolved
        The known name for each name, None where there is none; indexed by ``names``.
    report
        A row per name: ``name``, ``resolved``, ``how`` (``"exact"``, ``"version cut"``, ``"alias"``, ``"case"``,
        ``"ensembl"``, ``"unknown"``), ``ambiguous`` (the names that it could mean, joined by a comma).

    Examples
    --------
    >>> from scperturbmamba.features.names import resolve_genes
    >>> resolved, report = resolve_genes(["TP53", "MARCH8", "tp53"], ["TP53", "MARCHF8"])
    >>> list(resolved), list(report["how"])
    (['TP53', 'MARCHF8', 'TP53'], ['exact', 'alias', 'case'])
    """
    names = [str(name) for name in names]
    reference = _reference(known)
    user = _symmetric(aliases or {})
    rows = [_resolve(name, reference, user) for name in names]
    report = pd.DataFrame(rows, columns=["name", "resolved", "how", "ambiguous"], dtype=object)
    return pd.Series(report["resolved"].to_numpy(), index=pd.Index(names, dtype=object), dtype=object), report


def canonical_symbol(name: str) -> str:
    """Return the spelling that all names of a gene share: newest symbol, upper case, no Ensembl version."""
    spelling = cut_version(name.strip()).upper()
    return RENAMES.get(spelling, (spelling,))[-1].upper()


def other_names(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the further names that a table gives the genes of its index, from its symbol and id columns."""
    found: dict[str, list[str]] = {}
    for column in table.columns:
        if header(column) not in (*SYMBOL_COLUMNS, *ID_COLUMNS):
            continue
        for name, other in zip(table.index, table[column]):
            if isinstance(other, str) and other.strip() and other != name:
                found.setdefault(str(name), []).append(other.strip())
    return found


def header(column: object) -> str:
    """Return a column's name without case, blanks and punctuation."""
    return re.sub(r"[^a-z0-9]", "", str(column).lower())


def fold(name: str) -> str:
    """Return a spelling that does not depend on case, outer blanks, or ``.`` and ``_`` in the place of ``-``."""
    return name.strip().upper().replace(".", "-").replace("_", "-")


def cut_version(name: str) -> str:
    """Return an Ensembl gene id without its version; any other name as it is."""
    match = _VERSIONED.fullmatch(name)
    return match.group(1) if match else name


def _reference(known: Iterable[str] | pd.DataFrame) -> _Reference:
    names = known.index if isinstance(known, pd.DataFrame) else known
    reference = _Reference(exact={str(name) for name in names})
    for name in reference.exact:
        reference.folded.setdefault(fold(name), set()).add(name)
        if cut_version(name) != name:
            reference.cut.setdefault(cut_version(name), set()).add(name)
    if isinstance(known, pd.DataFrame):
        for name, others in other_names(known).items():
            for other in others:
                reference.others.setdefault(fold(cut_version(other)), set()).add(name)
    return reference


def _symmetric(aliases: Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    both: dict[str, list[str]] = {}
    for name, value in aliases.items():
        for other in [value] if isinstance(value, str) else value:
            both.setdefault(str(name), []).append(str(other))
            both.setdefault(str(other), []).append(str(name))
    return both


def _resolve(name: str, reference: _Reference, user: Mapping[str, list[str]]) -> tuple[str, str | None, str, str]:
    for how, found in _readings(name, reference, user):
        if len(found) == 1:
            return name, next(iter(found)), how, ""
        if found:
            return name, None, "unknown", ", ".join(sorted(found))
    return name, None, "unknown", ""


def _readings(name: str, reference: _Reference, user: Mapping[str, list[str]]) -> Iterator[tuple[str, set[str]]]:
    """Yield how a name may be read, surest first, with the known names that it then means."""
    bare = cut_version(name.strip())
    yield "exact", {name} & reference.exact
    yield "version cut", ({bare} & reference.exact) | reference.cut.get(bare, set())
    for other in user.get(name, ()):
        how = "ensembl" if _ENSEMBL.fullmatch(bare) or _ENSEMBL.fullmatch(cut_version(other)) else "alias"
        bare_other = cut_version(other)
        yield how, reference.find(other) or reference.find(bare_other) or reference.others.get(fold(bare_other), set())
    yield "ensembl" if _ENSEMBL.fullmatch(bare) else "alias", reference.others.get(fold(bare), set())
    yield "case", reference.folded.get(fold(name), set()) | reference.folded.get(fold(bare), set())
    renamed = [*_renames(bare), *_undated(bare)]
    yield "alias", set().union(*(reference.find(other) for other in renamed))
    yield "alias", set().union(*(reference.others.get(fold(other), set()) for other in renamed))


def _renames(name: str) -> list[str]:
    return [other for other in RENAMES.get(name.upper(), ()) if other.upper() != name.upper()]


def _undated(name: str) -> list[str]:
    """Return the symbols of which a spreadsheet makes this date: ``1-Mar``, ``Mar-01``, ``2023-03-01``."""
    match = _DATE.fullmatch(name.strip())
    if match is None:
        return []
    first, second = match["a"].lower(), match["b"].lower()
    if first.isdigit() and second.isdigit():
        month, day = _NUMBERED_MONTHS.get(int(first), ""), second
    else:
        month, day = (second, first) if first.isdigit() else (first, second)
    stems = _MONTHS.get(month, ()) if day.isdigit() else ()
    symbols = [f"{stem}{int(day)}" for stem in stems]
    return [name for symbol in symbols for name in (symbol, *_renames(symbol))]
