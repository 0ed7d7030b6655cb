"""Find the SMILES of drugs: in a column of ``obs``, a mapping, a table or a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import did_you_mean
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.control_names import is_unlabelled_name
from scperturbmamba.data.words import words_of
from scperturbmamba.features.chemistry import canonical_smiles
from scperturbmamba.features.tables import by_name, holds_words, read_table
from scperturbmamba.tl._drug_names import ScreenNames

_COLUMN_NAMES = ("smiles", "canonicalsmiles", "isomericsmiles", "smilesstring", "smi")
_SHOWN = 3


def read_smiles(adata: AnnData, smiles: Any, screen: ScreenNames) -> dict[str, str]:
    """Return the SMILES of drugs by the names of the screen; drugs without one are left out.

    Raises
    ------
    KeyError
        There is no such column, or none holds SMILES.
    ValueError
        A drug has two structures, or the name of a gene.
    """
    pairs = list(_pairs(adata, smiles, screen))
    given = [(str(name), str(text).strip()) for name, text in pairs if isinstance(text, str)]
    given = [(name, text) for name, text in given if not is_unlabelled_name(text)]
    names = screen.names_for(name for name, _ in given)
    screen.refuse_genes(names.values())
    return _one_each((names[name], text) for name, text in given)


def _pairs(adata: AnnData, smiles: Any, screen: ScreenNames) -> Iterable[tuple[Any, Any]]:
    """Return names and SMILES as they stand in the source."""
    if smiles is None or (isinstance(smiles, str) and smiles in adata.obs):
        return _from_obs(adata, smiles or _column_of(adata), screen)
    if isinstance(smiles, (pd.DataFrame, Path)) or (isinstance(smiles, str) and Path(smiles).is_file()):
        return _from_table(smiles if isinstance(smiles, pd.DataFrame) else read_table(smiles))
    if isinstance(smiles, (Mapping, pd.Series)):
        return smiles.items()
    if isinstance(smiles, str):
        msg = f"`smiles={smiles!r}` is neither a column of `adata.obs` nor a file.{did_you_mean(smiles, adata.obs)}"
        raise KeyError(msg)
    msg = (
        "`smiles` must be a column of `adata.obs`, a mapping of drug to SMILES, a table or the path of one; "
        f"found {type(smiles).__name__}."
    )
    raise TypeError(msg)


def _column_of(adata: AnnData) -> str:
    column = _smiles_column(adata.obs)
    if column is None:
        msg = (
            'no column of `adata.obs` is called "smiles" or like it. Name it (`smiles="column"`), or pass '
            f"`smiles={{drug: SMILES}}`. Found: {list(map(str, adata.obs.columns))}."
        )
        raise KeyError(msg)
    return column


def _smiles_column(table: pd.DataFrame) -> str | None:
    """Return the column that bears the first of the names that occurs, in any case, whatever stands between words."""
    folded = {re.sub(r"[^a-z]", "", str(column).casefold()): column for column in reversed(list(table.columns))}
    return next((folded[name] for name in _COLUMN_NAMES if name in folded), None)


def _from_obs(adata: AnnData, column: str, screen: ScreenNames) -> list[tuple[str, str]]:
    """Return what the column says of every condition in which one drug was given, alone or with genes."""
    found = adata.obs[[_keys.PERTURBATION, column]].dropna().drop_duplicates()
    pairs = []
    for label, text in zip(words_of(found[_keys.PERTURBATION]), words_of(found[column])):
        names = {name for name in Condition.parse(label).names if name not in screen.genes}
        if len(names) == 1:
            pairs.append((names.pop(), text))
    return pairs


def _from_table(table: pd.DataFrame) -> Iterable[tuple[Any, Any]]:
    words = [column for column in table.columns if holds_words(table[column])]
    column = _smiles_column(table) or (words[0] if len(words) == 1 and holds_words(table.index) else None)
    if column is None:
        msg = f'the table of `smiles` must have a column "smiles"; found {list(map(str, table.columns))}.'
        raise KeyError(msg)
    named = by_name(table[[*(one for one in table.columns if one != column), column]])
    if column not in named:
        msg = "the table of `smiles` must be indexed by drug, or have a column of drug names; found SMILES alone."
        raise ValueError(msg)
    return zip(named.index, named[column])


def _one_each(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return one SMILES per drug; several that spell one molecule are one."""
    spellings: dict[str, list[str]] = {}
    for name, text in dict.fromkeys(pairs):
        spellings.setdefault(name, []).append(text)
    several = {name: texts for name, texts in spellings.items() if len(texts) > 1}
    twice = [name for name, texts in several.items() if len({canonical_smiles(text) or text for text in texts}) > 1]
    if twice:
        shown = "; ".join(f"{name!r}: {', '.join(several[name][:_SHOWN])}" for name in twice[:_SHOWN])
        msg = (
            f"a drug must have one structure; {len(twice)} drugs have SMILES that differ as molecules: {shown}. "
            "Keep the right one, or give the drugs different names."
        )
        raise ValueError(msg)
    return {name: texts[0] for name, texts in spellings.items()}
