"""Which genes of a screen are modelled."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys


def modelled_genes(adata: AnnData) -> NDArray[np.bool_]:
    """Return (genes,): those that ``pp.select_genes`` chose, or all."""
    if _keys.SELECTED in adata.var:
        return adata.var[_keys.SELECTED].to_numpy(dtype=bool)
    return np.ones(adata.n_vars, dtype=bool)
