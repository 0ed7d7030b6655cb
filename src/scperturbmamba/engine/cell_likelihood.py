"""The negative-binomial likelihood of all cells of a condition, at a cost that does not depend on their number.

The cells of a row share mean and dispersion and differ by their size factor s alone. What couples them to the genes is
then ``sum_c (y_cg + r_g) log(1 + s_c m_g / r_g)``, smooth in log s: it is interpolated at a few Chebyshev nodes, where
the weights of the cells add up once and for all. What is left, ``lgamma(y + r)``, needs each distinct count of a gene
once. Exact but for the interpolation: gradients are right to about 1e-6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CellStatistics:
    """All that the likelihood needs of the cells of each row; K nodes.

    Attributes
    ----------
    nodes
        (rows, K): size factors.
    cells_at
        (rows, K): how many cells stand for each node; not whole numbers.
    counts_at
        (rows, K, genes): counts that stand for each node; over the nodes they sum to the counts of the row.
    n_cells
        (rows,)
    constant
        (rows,): what depends on no parameter.
    start
        (rows + 1,): where the distinct counts of a row begin.
    gene, value, times
        (distinct counts,): a gene, a count above zero, and in how many cells of the row it stands.
    """

    nodes: Tensor
    cells_at: Tensor
    counts_at: Tensor
    n_cells: Tensor
    constant: Tensor
    start: Tensor
    gene: Tensor
    value: Tensor
    times: Tensor

    def mean_log_likelihood(self, rows: Tensor, log_rate: Tensor, log_dispersion: Tensor) -> Tensor:
        """Return the log-likelihood per cell and gene of some rows.

        Parameters
        ----------
        rows
            (b,), on the CPU.
        log_rate, log_dispersion
            (b, genes): log of the expected count per unit of size, and of r.
        """
        fine = torch.float32 if log_rate.device.type == "mps" else torch.float64  # large sums that nearly cancel
        log_rate, log_dispersion = log_rate.to(fine), log_dispersion.to(fine)
        nodes, cells_at, counts_at, constant, n_cells = (
            one[rows].to(log_rate) for one in (self.nodes, self.cells_at, self.counts_at, self.constant, self.n_cells)
        )
        r = torch.exp(log_dispersion)
        odds = torch.exp(log_rate - log_dispersion)  # m / r at a size of one
        spread = torch.log1p(odds[:, None] * nodes[..., None])  # (b, K, genes)
        smooth = ((counts_at + cells_at[..., None] * r[:, None]) * spread).sum((1, 2))
        linear = (counts_at.sum(1) * (log_rate - log_dispersion)).sum(1)
        total = constant + linear - smooth + self._gammas(rows, r)
        return total / (n_cells * r.shape[1])

    def _gammas(self, rows: Tensor, r: Tensor) -> Tensor:
        """Return the sum of lgamma(y + r) - lgamma(r) over the counts of each row."""
        spans = [slice(int(self.start[row]), int(self.start[row + 1])) for row in rows]
        gene, value, times = (
            torch.cat([one[span] for span in spans]).to(r.device) for one in (self.gene, self.value, self.times)
        )
        n = torch.tensor([span.stop - span.start for span in spans], device=r.device)
        row = torch.repeat_interleave(torch.arange(len(rows), device=r.device), n)
        place = row * r.shape[1] + gene
        at = r.flatten()[place]
        of_zero = torch.lgamma(r).flatten()[place]
        terms = times * (torch.lgamma(value + at) - of_zero)
        return torch.zeros_like(r[:, 0]).index_add(0, row, terms)
