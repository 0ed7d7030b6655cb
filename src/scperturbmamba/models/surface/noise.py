"""The covariance of the noise of measured effects: their own cells, and the control cells that they share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.models.kernels import Rows

_LEAST = 1e-3  # of the mean noise: no measurement is exact


def row_noise(data: Bundle, noise: Rows, rows: NDArray[np.int64]) -> Rows:
    """Return the noise of some rows (rows × rows), as multiples of the mean noise of one row.

    ``noise`` (all rows × genes) is the sampling variance of the treated cells; where it is not known it is that of so
    many cells. Rows that were compared with the same control cells share the noise of those.
    """
    cells = np.maximum(data.n_cells, 1).astype(np.float64)
    known = np.asarray(np.isfinite(noise).all(1))
    own = 1 / cells
    per_cell = (noise[known] * cells[known, None]).mean(0) if known.any() else np.zeros(data.delta.shape[1])
    alive = per_cell > 0
    if alive.any():
        own = np.where(known, (noise[:, alive] / per_cell[alive]).mean(1), own)
    found = np.diag(own[rows])
    if data.controls is not None:
        share = data.controls.share[rows].toarray()
        found += (share / np.maximum(data.controls.n_cells, 1)) @ share.T
    mean = float(np.mean(np.diag(found))) if len(rows) else 1.0
    return np.asarray(found / mean + _LEAST * np.eye(len(rows)), np.float64)
