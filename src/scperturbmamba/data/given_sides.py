"""Sides that somebody else chose: a column, a table, a file."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from scperturbmamba._keys import TEST, TRAIN, VAL
from scperturbmamba.data.dialects import read_label

_WORDS = {
    "train": TRAIN, "training": TRAIN,
    "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL,
    "test": TEST, "testing": TEST, "ood": TEST, "holdout": TEST, "held-out": TEST, "held_out": TEST,
}  # fmt: skip
_LABEL_COLUMNS = ("perturbation", "condition", "label")
_SIDE_COLUMNS = ("split", "side", "set", "subset")


def read_side(word: object) -> str:
    """Return ``train``, ``val`` or ``test`` for a word of any tool.

    Raises
    ------
    ValueError
        The word names no side.
    """
    side = _WORDS.get(str(word).strip().casefold())
    if side is None:
        msg = f"a side of a split is one of {sorted(_WORDS)}; found {word!r}."
        raise ValueError(msg)
    return side


def read_mapping(given: Mapping[str, object], known: Collection[str], units: Mapping[str, str]) -> dict[str, str]:
    """Return side by canonical label, from ``{label: side}`` or ``{side: [labels]}``, labels in any dialect.

    A label may give a dose in another unit than ``units``, those of the screen by drug.

    Raises
    ------
    ValueError
        A label is on two sides, or a side is not known.
    """
    sides: dict[str, str] = {}
    for label, word in _pairs(given):
        canonical, side = read_label(label, known).in_units(units).label, read_side(word)
        if sides.setdefault(canonical, side) != side:
            msg = f"the split puts {canonical!r} on two sides, {sides[canonical]!r} and {side!r}. Leave one."
            raise ValueError(msg)
    return sides


def read_file(path: Path) -> dict[str, object]:
    """Return what a ``.json``, ``.csv`` or ``.tsv`` file says of labels and sides.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is of another kind, or has no column of labels or of sides.
    """
    if path.suffix == ".json":
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            msg = f"{path} must hold an object {{label: side}} or {{side: [labels]}}; found {type(found).__name__}."
            raise ValueError(msg)
        return found
    if path.suffix not in (".csv", ".tsv"):
        msg = f"a split is read from a .json, .csv or .tsv file; found {path.name!r}."
        raise ValueError(msg)
    table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str)
    label, side = (_column(table, names, path) for names in (_LABEL_COLUMNS, _SIDE_COLUMNS))
    return dict(zip(table[label], table[side]))


def _pairs(given: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    for key, value in given.items():
        if isinstance(value, str):
            yield str(key), value
        elif isinstance(value, Iterable):
            yield from ((str(label), key) for label in value)
        else:
            yield str(key), value


def _column(table: pd.DataFrame, names: Iterable[str], path: Path) -> str:
    found = [name for name in names if name in table]
    if not found:
        msg = f"{path} needs a column named one of {list(names)}; found {list(table.columns)}."
        raise ValueError(msg)
    return found[0]
