"""The likelihood of all cells of a condition: from statistics of fixed size, against the sum over cells and genes.

``python benchmarks/likelihood.py [--quick] [--json FILE] [--page FILE]``. Process time of one thread.
"""

from __future__ import annotations

import time

import numpy as np
import scipy.sparse as sp
import torch
from _measure import Row, interleaved, options, report
from torch import Tensor

from scperturbmamba.data.bundle_cells import Cells
from scperturbmamba.engine.likelihood import nb_log_likelihood
from scperturbmamba.models.cell_statistics import cell_statistics


def world(n_cells: int, n_genes: int) -> tuple[Cells, Tensor, Tensor]:
    """Return cells of one condition, and the log rates and dispersions at which they are scored."""
    rng = np.random.default_rng(0)
    rate, r = np.exp(rng.normal(-3, 1.6, n_genes)), np.exp(rng.normal(0.5, 0.7, n_genes))
    size = np.clip(np.exp(rng.normal(0, 0.5, n_cells)), 0.15, 6).astype(np.float32)
    counts = rng.negative_binomial(r, r / (r + size[:, None] * rate)).astype(np.float32)
    cells = Cells(sp.csr_matrix(counts), size, np.zeros(n_cells, np.int64))
    log_rate, log_r = np.log(rate) + rng.normal(0, 0.3, n_genes), np.log(r) + rng.normal(0, 0.2, n_genes)
    return cells, torch.tensor(log_rate), torch.tensor(log_r)


def gradients(value: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value.sum(), inputs)


def against_dense(n_cells: int, n_genes: int, *, rounds: int) -> list[Row]:
    """Speed and error at one size, and how the cost moves with the cells."""
    cells, log_rate, log_r = world(n_cells, n_genes)
    order = np.arange(n_genes)
    statistics = cell_statistics(cells, 1, order)
    few = cell_statistics(
        Cells(cells.counts[: n_cells // 10], cells.size[: n_cells // 10], cells.row[: n_cells // 10]), 1, order
    )
    counts, size = torch.from_numpy(cells.counts.toarray()), torch.from_numpy(cells.size)

    def fast(of: object = statistics, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        m, d = (one[None].to(dtype).requires_grad_() for one in (log_rate, log_r))
        return gradients(of.mean_log_likelihood(torch.tensor([0]), m, d), m, d)  # type: ignore[attr-defined]

    def dense(dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        m, d = (one[None].to(dtype).requires_grad_() for one in (log_rate, log_r))
        mean = size.to(dtype)[:, None] * torch.exp(m)
        return gradients(nb_log_likelihood(counts.to(dtype), mean, torch.exp(d)).mean(), m, d)

    ms = interleaved({"fast": fast, "few": lambda: fast(few), "dense": dense}, rounds=rounds)
    errors = [
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(fast(dtype=torch.float64), dense(torch.float64))
    ]
    gain = ms["dense"] / ms["fast"]
    return [
        Row(
            f"all cells at once, {n_cells:,} cells × {n_genes:,} genes, value and gradient",
            "≥ 200 ×",
            f"{gain:.0f} × ({ms['dense']:.0f} → {ms['fast']:.1f} ms)",
            gain >= 200,
        ),
        Row("error of the gradients", "≤ 1e-6", f"{max(errors):.1e}", max(errors) <= 1e-6),
        Row(
            "ten times the cells",
            "the same cost",
            f"{ms['fast'] / ms['few']:.1f} × the time",
            ms["fast"] <= 2 * ms["few"],
            "what is left grows with the number of distinct counts of a gene",
        ),
    ]


def making(n_cells: int, n_genes: int, *, per_condition: int) -> Row:
    """Cells per second that the statistics are made of."""
    cells, _, _ = world(n_cells, n_genes)
    rows = n_cells // per_condition
    cells = Cells(cells.counts, cells.size, np.arange(n_cells) // per_condition)
    cell_statistics(cells, rows, np.arange(n_genes))  # compiles
    taken = []
    for _ in range(5):
        start = time.process_time()
        cell_statistics(cells, rows, np.arange(n_genes))
        taken.append(time.process_time() - start)
    rate = n_cells / sorted(taken)[2]
    per_cell = cells.counts.nnz / n_cells
    return Row(
        f"cells per second and core, {per_condition:,} cells per condition, {per_cell:,.0f} genes per cell",
        "≥ 50,000",
        f"{rate:,.0f}",
        rate >= 50_000,
    )


def main() -> None:
    """Run every row."""
    given = options(__doc__, quick="fewer genes, fewer rounds")
    torch.set_num_threads(1)
    n_genes = 2_000 if given.quick else 18_000
    rows = against_dense(1_000, n_genes, rounds=1 if given.quick else 5)
    rows += [making(1_000, n_genes, per_condition=n) for n in (1_000, 100)]
    report(rows, given, title="The likelihood of all cells")


if __name__ == "__main__":
    main()
