"""Read the features of genes and drugs of an AnnData into plain tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_key

_TARGETS, _VALUES = "targets", "values"


@dataclass(frozen=True)
class FeatureTable:
    """Numbers for genes, or for drugs and other named conditions, from one source.

    Attributes
    ----------
    source
        ``"identity"``, ``"position"``, ``"pathway"`` or any other; of drugs ``"drug_fingerprint"`` and the like.
    names
        Modelled genes in the order of the screen, then the other measured genes, then genes outside; of drugs, drugs
        alone.
    columns
        One name per number.
    values
        Names × columns, float32.
    provenance
        Hash of what the source was made from.
    scaled
        Whether a model brings the columns to mean 0 and spread 1; counts of a fingerprint stay as they are.
    """

    source: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float32]
    provenance: str
    scaled: bool = True


def feature_sources(adata: AnnData) -> list[str]:
    """Return the sources that ``tl.gene_features`` and ``tl.drug_features`` have written, genes first, sorted."""
    return [*gene_sources(adata), *drug_sources(adata)]


def drug_sources(adata: AnnData) -> list[str]:
    """Return the sources that ``tl.drug_features`` has written, sorted."""
    return sorted(str(key) for key, record in adata.uns.items() if _is_of_drugs(key, record))


def gene_sources(adata: AnnData) -> list[str]:
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
        if source.startswith(_keys.DRUG_PREFIX):
            name = source.removeprefix(_keys.DRUG_PREFIX)
            check_key(adata, "uns", source, made_by=f'spm.tl.drug_features(adata, ["{name}"])')
            continue
        check_key(adata, "varm", _keys.GENE_PREFIX + source, made_by=f'spm.tl.gene_features(adata, ["{source}"])')
    order = np.arange(adata.n_vars)
    if modelled is not None:
        order = np.concatenate([order[modelled], order[~modelled]])
    return tuple(
        _read_drugs(adata, source) if source.startswith(_keys.DRUG_PREFIX) else _read(adata, source, order)
        for source in wanted
    )


def _is_of_drugs(key: object, record: object) -> bool:
    return str(key).startswith(_keys.DRUG_PREFIX) and isinstance(record, Mapping) and _VALUES in record


def _read_drugs(adata: AnnData, source: str) -> FeatureTable:
    record = adata.uns[source]
    return FeatureTable(
        source=source,
        names=tuple(map(str, record["drugs"])),
        columns=tuple(map(str, record["columns"])),
        values=np.asarray(record[_VALUES], dtype=np.float32),
        provenance=str(record["provenance"]),
        scaled=bool(record[_keys.PARAMS]["scaled"]),
    )


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
