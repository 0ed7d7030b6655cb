"""The noise of measured effects: that of their own cells, and that of the control cells that they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.models.gate import Vector
from scperturbmamba.models.kernels import Rows

_LEAST = 1e-3  # of the mean noise: no measurement is exact


@dataclass(frozen=True)
class RowNoise:
    """How the noise of rows goes together, and how large it is.

    Attributes
    ----------
    between
        (rows × rows): covariance, as multiples of the mean noise of one row.
    level
        (genes,): that mean, as far as sampling tells; 0 where nothing is known.
    of_control
        (contexts × rows): covariance with the control mean of a context, its sign turned, in the same multiples.
    """

    between: Rows
    level: Vector
    of_control: Rows

    @classmethod
    def of(cls, data: Bundle, noise: Rows, rows: NDArray[np.int64]) -> RowNoise:
        """Read some rows; ``noise`` (all rows × genes) is the sampling variance of the mean of their treated cells.

        Where it is not known it is that of so many cells. Rows that were compared with the same control cells share the
        noise of those.
        """
        cells = np.maximum(data.n_cells, 1).astype(np.float64)
        known = np.asarray(np.isfinite(noise).all(1))
        own = 1 / cells
        per_cell = (noise[known] * cells[known, None]).mean(0) if known.any() else np.zeros(data.delta.shape[1])
        alive = per_cell > 0
        if alive.any():
            own = np.where(known, (noise[:, alive] / per_cell[alive]).mean(1), own)
        between, of_control = np.diag(own[rows]), np.zeros((len(data.contexts), len(rows)))
        if data.controls is not None:
            share = data.controls.share[rows].toarray()
            between += (share / np.maximum(data.controls.n_cells, 1)) @ share.T
            for context in range(len(data.contexts)):
                here = data.context[rows] == context
                n_cells = data.controls.n_cells[share[here].any(0)].sum()
                of_control[context, here] = share[here].sum(1) / max(n_cells, 1)
        mean = float(np.mean(np.diag(between))) if len(rows) else 1.0
        return cls(between / mean + _LEAST * np.eye(len(rows)), per_cell * mean, of_control / mean)

    @property
    def trust(self) -> Vector:
        """(rows,): from 1 for a row without noise to 1/2 for one of the mean noise, and on to 0."""
        return np.asarray(1 / (1 + np.diag(self.between)), np.float64)

    def take(self, rows: NDArray[np.integer]) -> RowNoise:
        """Return that of some of the rows."""
        return RowNoise(self.between[np.ix_(rows, rows)], self.level, self.of_control[:, rows])

    def along(self, axes: Rows) -> RowNoise:
        """Return that of directions (axes × genes), as if the noise of genes were independent."""
        return RowNoise(self.between, np.square(axes) @ self.level, self.of_control)
