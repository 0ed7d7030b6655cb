"""Which cells a side of the split holds."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_key


def split_column(adata: AnnData, key: str | None, *, default: str = _keys.SPLIT) -> str | None:
    """Return the column of the split: the one asked for, which must be there, or the default where there is one."""
    if key is not None:
        check_key(adata, "obs", key, made_by="spm.pp.split_conditions")
        return key
    return default if default in adata.obs else None


def cells_on_side(adata: AnnData, column: str | None, side: str) -> NDArray[np.bool_]:
    """Return (cells,): those on a side, or all where there is no split."""
    if column is None:
        return np.ones(adata.n_obs, dtype=bool)
    return np.asarray(adata.obs[column] == side)
