"""What the negative-binomial head needs from the cells of a bundle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scperturbmamba.data.bundle_cells import Cells
from scperturbmamba.data.statistics import group_sums
from scperturbmamba.engine.likelihood import nb_expected_log1p, nb_sample

_N_SIZES = 5  # quantiles of the size factor over which an expectation is averaged
_FARTHEST, _GRID = 6.0, 121  # changes of the log rate on which the way back is found
_PSEUDO = 0.5  # counts added to a gene's total, so that a silent gene has a finite log rate


@dataclass(frozen=True)
class CountModel:
    """Rates and dispersions of the control cells.

    Attributes
    ----------
    log_rate
        (contexts × genes): log of expected counts per unit of size.
    log_dispersion
        (genes,): by moments over control cells, shrunk to the median gene.
    sizes
        (sizes,): quantiles of the size factors of the training cells.
    """

    log_rate: NDArray[np.float32]
    log_dispersion: NDArray[np.float32]
    sizes: NDArray[np.float32]

    @classmethod
    def fit(cls, cells: Cells, n_contexts: int) -> CountModel:
        """Estimate from the control cells."""
        context = np.where(cells.row < 0, -1 - cells.row, -1)
        total = group_sums(cells.counts, context, n_contexts)
        size = np.bincount(context[context >= 0], cells.size[context >= 0], minlength=n_contexts)[:, None]
        rate = (total + _PSEUDO) / size
        quantiles = np.quantile(cells.size, (np.arange(_N_SIZES) + 0.5) / _N_SIZES)
        return cls(
            np.log(rate).astype(np.float32),
            _log_dispersion(cells, context, rate).astype(np.float32),
            quantiles.astype(np.float32),
        )

    def ordered(self, order: NDArray[np.int64]) -> CountModel:
        """Return the model of the genes in another order."""
        return CountModel(self.log_rate[:, order], self.log_dispersion[order], self.sizes)

    def deltas(
        self, shift: NDArray[np.float32], log_dispersion: NDArray[np.float32], context: int
    ) -> NDArray[np.float32]:
        """Return effects (rows × genes) on the log-normalised scale in one context."""
        rows = torch.full((len(shift),), context)
        found = self.to_delta(torch.from_numpy(shift), torch.from_numpy(log_dispersion), rows)
        return np.asarray(found.numpy(), np.float32)

    def to_shift(self, delta: NDArray[np.float32], context: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return changes of the log rate that give effects (rows × genes), at the dispersion of the control.

        By interpolation on a grid of changes; what lies beyond it has its end.
        """
        grid = torch.linspace(-_FARTHEST, _FARTHEST, _GRID)
        result = np.empty_like(delta)
        log_r = torch.from_numpy(self.log_dispersion)[None].expand(_GRID, -1)
        for one in np.unique(context):
            table = self.to_delta(grid[:, None].expand_as(log_r), log_r, torch.full((_GRID,), int(one))).numpy()
            rows = np.flatnonzero(context == one)
            for gene in range(delta.shape[1]):
                result[rows, gene] = np.interp(delta[rows, gene], table[:, gene], grid.numpy())
        return result

    def sample(
        self,
        shift: NDArray[np.float32],
        log_dispersion: NDArray[np.float32],
        n_cells: int,
        context: int,
        random_state: int,
    ) -> NDArray[np.float32]:
        """Draw raw counts of cells (conditions, cells, genes) for changes of the log rate (conditions × genes)."""
        generator = torch.Generator().manual_seed(random_state)
        rate = torch.exp(torch.from_numpy(self.log_rate[context] + shift))
        sizes = torch.from_numpy(self.sizes)
        drawn = sizes[torch.randint(len(sizes), (len(shift), n_cells), generator=generator)]
        dispersion = torch.exp(torch.from_numpy(log_dispersion))[:, None]
        return np.asarray(
            nb_sample(rate[:, None] * drawn[..., None], dispersion, generator).float().numpy(), np.float32
        )

    def to_delta(self, shift: Tensor, log_dispersion: Tensor, context: Tensor) -> Tensor:
        """Return effects (rows, genes) on the log-normalised scale, the control taken at the same dispersion."""
        base = torch.from_numpy(self.log_rate)[context]
        size, r = torch.from_numpy(self.sizes), torch.exp(log_dispersion)
        treated = nb_expected_log1p(torch.exp((base + shift).clamp(-20, 12)), r, size)
        return treated - nb_expected_log1p(torch.exp(base), r, size)


def _log_dispersion(cells: Cells, context: NDArray[np.int64], rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log r by moments: E[(y - s m)² - y] = (s m)² / r, pooled over contexts, half shrunk to the median."""
    excess, square = np.zeros(rate.shape[1]), np.zeros(rate.shape[1])
    for number in range(len(rate)):
        some = np.flatnonzero(context == number)
        s = cells.size[some].astype(np.float64)[:, None]
        y = cells.counts[some]
        total_sq = np.asarray(y.multiply(y).sum(0)).ravel()
        cross = np.asarray(y.multiply(s).sum(0)).ravel()
        total = np.asarray(y.sum(0)).ravel()
        excess += total_sq - 2 * rate[number] * cross + rate[number] ** 2 * (s**2).sum() - total
        square += rate[number] ** 2 * (s**2).sum()
    log_r = np.log(np.clip(square / np.maximum(excess, 1e-8), 0.05, 100))
    return 0.5 * (log_r + np.median(log_r))
