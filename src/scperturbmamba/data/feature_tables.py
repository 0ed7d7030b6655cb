"""Read the gene features of an AnnData into plain tables: measured genes, and perturbed genes outside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_key

_TARGETS = "targets"


@dataclass(frozen=True)
class FeatureTable:
    """Numbers for genes from one source.

    Attributes
    ----------
    source
        ``"identity"``, ``"position"``, ``"pathway"`` or any other.
    names
        Modelled genes in the order of the screen, then the other measured genes, then genes outside.
    columns
        One name per number.
    values
        Names × columns, float32.
    provenance
        Hash of what the source was made from.
    """

    source: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float32]
    provenance: str


def feature_sources(adata: AnnData) -> list[str]:
    """Return the sources that ``tl.gene_features`` has written, sorted."""
    prefix = _keys.GENE_PREFIX
    return sorted(
        key.removeprefix(prefix) for key in adata.varm if key.startswith(prefix) and _TARGETS in adata.uns.get(key, {})
    )


def read_features(
    adata: AnnData, sources: Sequence[str] | None, modelled: NDArray[np.bool_] | None = None
) -> tuple[FeatureTable, ...]:
    """Return the tables of the sources asked for, or of all that are there; modelled genes (default all) come first.

    Raises
    ------
    KeyError
        A source is not there.
    """
    wanted = feature_sources(adata) if sources is None else list(sources)
    for source in wanted:
        check_key(adata, "varm", _keys.GENE_PREFIX + source, made_by=f'spm.tl.gene_features(adata, ["{source}"])')
    order = np.arange(adata.n_vars)
    if modelled is not None:
        order = np.concatenate([order[modelled], order[~modelled]])
    return tuple(_read(adata, source, order) for source in wanted)


def _read(adata: AnnData, source: str, order: NDArray[np.int64]) -> FeatureTable:
    key = _keys.GENE_PREFIX + source
    measured, record = adata.varm[key].iloc[order], adata.uns[key]
    outside: pd.DataFrame = record[_TARGETS]
    return FeatureTable(
        source=source,
        names=(*map(str, measured.index), *map(str, outside.index)),
        columns=tuple(map(str, measured.columns)),
        values=np.vstack([measured.to_numpy(np.float32), outside[list(measured.columns)].to_numpy(np.float32)]),
        provenance=str(record.get("provenance", "")),
    )
