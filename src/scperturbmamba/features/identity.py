"""A fixed random code of a gene, drawn from its symbol alone: the same on every machine, and for every gene."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from scperturbmamba.features.names import canonical_symbol


def identity_table(genes: Sequence[str], width: int = 16) -> pd.DataFrame:
    """Return genes × ``width`` standard normal numbers that depend on nothing but each gene's name.

    Case, the version of an Ensembl id and an HGNC rename do not change a code; a narrower code is the start of a
    wider one. Of a hash of the name only raw bits are used, whose stream numpy keeps fixed between versions.

    Examples
    --------
    >>> from scperturbmamba.features.identity import identity_table
    >>> identity_table(["MARCH8", "MARCHF8"], 2).nunique().tolist()
    [1, 1]
    """
    values = np.array([_code(gene, width) for gene in genes], dtype=np.float32).reshape(len(genes), width)
    return pd.DataFrame(values, index=list(genes), columns=[f"identity_{number}" for number in range(width)])


def _code(gene: str, width: int) -> NDArray[np.float64]:
    digest = hashlib.sha256(canonical_symbol(gene).encode()).digest()
    bits = np.random.PCG64(int.from_bytes(digest[:16], "big")).random_raw(width)
    return ndtri(((bits >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53)
