"""Limits that follow the distribution of the cells at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import median_abs_deviation

Array = NDArray[np.float64]

_LEAST_MT = 5.0  # per cent; below this share no cell is suspicious


def gene_limits(n_genes: Array, n_mads: float) -> tuple[int, int]:
    """Return the fewest and the most genes of an ordinary cell.

    The limits lie ``n_mads`` scaled median absolute deviations from the median on the scale of log(1 + genes), and
    never between half the median and twice the median: a narrow distribution, or a panel of which most cells show
    nearly every gene, loses no cell that lies within its own mode.

    Parameters
    ----------
    n_genes
        Genes with a count, per cell; cells without any are left out.
    n_mads
        How many deviations.
    """
    logs = np.log1p(n_genes[n_genes > 0])
    middle = float(np.median(logs))
    reach = n_mads * float(median_abs_deviation(logs, scale="normal"))
    median = np.expm1(middle)
    low = min(np.expm1(middle - reach), median / 2)
    high = max(np.expm1(middle + reach), median * 2)
    return max(int(np.floor(low)), 1), int(np.ceil(high))


def mt_limit(pct_mt: Array, n_mads: float) -> float:
    """Return the highest mitochondrial share (per cent) of an ordinary cell, at least 5 and at least twice the median.

    Parameters
    ----------
    pct_mt
        Per cent of a cell's counts on mitochondrial genes.
    n_mads
        How many scaled median absolute deviations above the median.
    """
    median = float(np.median(pct_mt))
    reach = n_mads * float(median_abs_deviation(pct_mt, scale="normal"))
    return float(min(max(median + reach, 2 * median, _LEAST_MT), 100.0))


def histogram(values: Array, kept: NDArray[np.bool_], *, scale: str, n_bins: int = 60) -> dict[str, Array]:
    """Count all cells and those kept in bins that are even on a scale.

    Parameters
    ----------
    values
        One number per cell.
    kept
        Which cells are kept.
    scale
        ``"log"`` (zeros are left out), ``"linear"``, or ``"whole"`` for bins that each hold as many whole numbers.
    n_bins
        Bins at most.

    Returns
    -------
    ``left`` and ``right`` edges, ``n_cells`` and ``n_kept`` of each bin.
    """
    shown = values[values > 0]
    top = float(values.max())
    if scale == "log" and len(shown):
        edges = np.geomspace(shown.min() * 0.999, shown.max() * 1.001, n_bins + 1)
    elif scale == "whole":
        step = max(int(np.ceil((top - values.min() + 1) / n_bins)), 1)
        edges = np.arange(values.min(), top + 1 + step, step) - 0.5
    else:
        edges = np.linspace(0, max(top, 1e-9) * 1.001, n_bins + 1)
    return {
        "left": edges[:-1],
        "right": edges[1:],
        "n_cells": np.histogram(values, edges)[0],
        "n_kept": np.histogram(values[kept], edges)[0],
    }
