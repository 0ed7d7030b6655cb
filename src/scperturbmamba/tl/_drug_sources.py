"""Each source of drug features: the table over names, and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import pandas as pd

from scperturbmamba.features.chemistry import (
    DESCRIPTORS,
    N_BITS,
    RADIUS,
    Structures,
    descriptor_table,
    morgan_table,
)
from scperturbmamba.features.provenance import fingerprint
from scperturbmamba.features.tables import KNOWN, by_name, numbers_of, with_known
from scperturbmamba.tl._drug_names import ScreenNames
from scperturbmamba.tl._gene_sources import Made

FINGERPRINT: Final = "fingerprint"
DESCRIPTION: Final = "descriptors"
STRUCTURES: Final = (FINGERPRINT, DESCRIPTION)  # sources that are made from SMILES


def from_structures(source: str, names: Sequence[str], found: Structures, n_bits: int | None) -> Made:
    """Return fingerprints or descriptors of drugs, zeros where the structure is not known.

    The provenance says what a column means, not which drugs there are, so that drugs described later fit.
    """
    if source == FINGERPRINT:
        table = morgan_table(names, found.smiles, n_bits=n_bits or N_BITS)
        params: dict[str, Any] = {"kind": "Morgan counts", "radius": RADIUS, "n_bits": n_bits or N_BITS}
        provenance = fingerprint([f"{name}={value}" for name, value in params.items()])
    else:
        table = descriptor_table(names, found.smiles)
        params, provenance = {"kind": "descriptors"}, fingerprint([repr(one) for one in DESCRIPTORS])
    n_mixtures = sum(name in found.mixtures for name in names)
    made_with = {"mixture": "largest part", "n_mixtures": n_mixtures, "rdkit": version("rdkit")}
    return Made(table, {**params, **made_with, "scaled": False, **_counts(table)}, provenance)


def from_table(given: Any, screen: ScreenNames) -> tuple[Made, list[str]]:
    """Return a user's numbers for its own names and those of the screen, and its names that are genes, left out.

    The provenance is that of the whole table: columns of another table are other numbers.
    """
    whole = numbers_of(by_name(given))
    numbers = whole[~whole.index.isin(screen.genes)]
    own = screen.names_for(map(str, numbers.index))
    place = {own[str(name)]: row for row, name in enumerate(numbers.index)}
    names = sorted({*screen.drugs, *place})
    rows = np.array([place.get(name, -1) for name in names], int)
    table = with_known(names, numbers.to_numpy(), list(numbers.columns), rows)
    are_sets = bool(np.isin(numbers.to_numpy(), (0, 1)).all())
    params = {"kind": "sets" if are_sets else "table", "scaled": not are_sets, **_counts(table)}
    return Made(table, params, fingerprint(whole.sort_index())), sorted(screen.genes.intersection(whole.index))


def known_names(table: pd.DataFrame) -> set[str]:
    """Return the names that a table describes."""
    return set(table.index[table[KNOWN] > 0])


def record_of(made: Made, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes into ``uns``."""
    return {
        "params": dict(params),
        "provenance": made.provenance,
        "drugs": np.array(made.table.index, dtype=object),
        "columns": np.array(made.table.columns, dtype=object),
        "values": made.table.to_numpy(np.float32),
    }


def _counts(table: pd.DataFrame) -> dict[str, int]:
    return {"n_drugs": len(table), "n_known": int(table[KNOWN].sum())}
