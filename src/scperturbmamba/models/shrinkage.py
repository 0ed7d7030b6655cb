"""Draw measured effects to their mean, as far as they are noise (empirical Bayes)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle

Rows = NDArray[np.float64]
_PRIOR_ROWS = 10  # conditions that the share common to all genes is worth
_POOLED_CELLS = 20  # cells that the variance common to all rows is worth


@dataclass(frozen=True)
class Prior:
    """What the effects of a context are like before a condition is measured.

    Attributes
    ----------
    mean, variance
        (genes,): mean over conditions, and variance of the true effects around it.
    """

    mean: Rows
    variance: Rows

    @classmethod
    def of(cls, effects: Rows, noise: Rows) -> Prior:
        """Estimate by moments, from effects and the variances of their noise (conditions × genes).

        The variance of a gene is that of its measured effects less the mean of the noise, not below 0. Few conditions
        tell little of one gene, so it is drawn to the ratio that all genes have in common.
        """
        n = len(effects)
        mean = effects.mean(0)
        total = np.square(effects - mean).sum(0) / max(n - 1, 1)
        inside = np.maximum(total - noise.mean(0), 0)
        share = inside.sum() / max(total.sum(), 1e-30)
        weight = n / (n + _PRIOR_ROWS)
        return cls(mean, weight * inside + (1 - weight) * share * total)

    def shrink(self, effects: Rows, noise: Rows) -> Rows:
        """Return the expected true effects: μ + τ² / (τ² + σ²) (y − μ)."""
        kept = np.divide(
            self.variance, self.variance + noise, out=np.zeros_like(noise), where=noise + self.variance > 0
        )
        return self.mean + kept * (effects - self.mean)


def cell_noise(data: Bundle) -> Rows:
    """Return the sampling variance of the mean of the treated cells of training rows, NaN where it is not known.

    The variance between cells is that of the row, drawn to the one that the rows have in common: of ten cells, none of
    which holds a gene, it would be 0.
    """
    variance = np.square((data.se if data.own_se is None else data.own_se).astype(np.float64))
    variance[data.is_val] = np.nan
    known = np.asarray(np.isfinite(variance).all(1))
    degrees = np.where(known, np.maximum(data.n_cells - 1.0, 0), 0)[:, None]
    between = np.where(known[:, None], np.maximum(variance, 0) * data.n_cells[:, None], 0)
    pooled = (degrees * between).sum(0) / max(degrees.sum(), 1)
    own = (degrees * between + _POOLED_CELLS * pooled) / (degrees + _POOLED_CELLS)
    return np.where(known[:, None], own / np.maximum(data.n_cells, 1)[:, None], np.nan)
