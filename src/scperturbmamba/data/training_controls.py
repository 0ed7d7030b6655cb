"""Which control cells belong to the training side."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys


def training_controls(adata: AnnData) -> NDArray[np.bool_]:
    """Return (cells,): the control cells of a labelled screen, those of the training side where there are sides."""
    chosen = adata.obs[_keys.IS_CONTROL].to_numpy(dtype=bool)
    if _keys.SPLIT in adata.obs:
        chosen = chosen & (adata.obs[_keys.SPLIT] == _keys.TRAIN).to_numpy()
    return np.asarray(chosen, bool)
