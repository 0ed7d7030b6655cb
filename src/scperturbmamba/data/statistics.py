"""Sums, means and errors of groups of cells, from sparse or dense matrices, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def indicator(groups: NDArray[np.integer], n_groups: int) -> sp.csr_matrix:
    """Return groups × cells with a 1 where a cell is of a group; cells of group -1 are of none."""
    cells = np.flatnonzero(groups >= 0)
    ones = np.ones(len(cells))
    return sp.csr_matrix((ones, (groups[cells], cells)), shape=(n_groups, len(groups)))


def group_sums(matrix: Any, groups: NDArray[np.integer], n_groups: int) -> NDArray[np.float64]:
    """Return groups × genes sums in float64."""
    total = indicator(groups, n_groups) @ matrix
    return np.asarray(total.todense() if sp.issparse(total) else total, dtype=np.float64)


def group_averages(
    matrix: Any, groups: NDArray[np.integer], n_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return mean (groups × genes) and cells per group, without the error; an empty group has a mean of NaN."""
    n = np.bincount(groups[groups >= 0], minlength=n_groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        return group_sums(matrix, groups, n_groups) / n[:, None], n


def group_means(
    matrix: Any, groups: NDArray[np.integer], n_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean, standard error of the mean (both groups × genes) and cells per group.

    A group of one cell has a standard error of NaN, an empty group a mean of NaN.
    """
    n = np.bincount(groups[groups >= 0], minlength=n_groups)
    squares = matrix.astype(np.float64).power(2) if sp.issparse(matrix) else np.square(matrix, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = group_sums(matrix, groups, n_groups) / n[:, None]
        second = group_sums(squares, groups, n_groups) / n[:, None]
        variance = np.maximum(second - mean**2, 0) * (n / (n - 1.0))[:, None]
        variance[n < 2] = np.nan
        error = np.sqrt(variance / n[:, None])
    return mean, error, n


def against_rest(matrix: Any, groups: NDArray[np.integer], family: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return Welch's t (groups × genes) of the cells of each group against those of all other groups of its family.

    Parameters
    ----------
    matrix
        Cells × genes.
    groups
        (cells,): group of each cell, or -1.
    family
        (groups,): family of each group; groups of family -1 are compared with nothing and get NaN.
    """
    return contrasts(*group_means(matrix, groups, len(family)), family)


def contrasts(
    mean: NDArray[np.floating], error: NDArray[np.floating], n: NDArray[np.int64], family: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return Welch's t as :func:`against_rest`, from means, their standard errors and the numbers of cells."""
    sums = np.nan_to_num(mean) * n[:, None]
    spread = np.nan_to_num(np.square(error) * n[:, None])  # variance of one cell
    squares = spread * np.maximum(n - 1, 0)[:, None] + np.nan_to_num(mean) * sums
    result = np.full(mean.shape, np.nan)
    for one in np.unique(family[family >= 0]):
        own = np.flatnonzero(family == one)
        left = (n[own].sum() - n[own])[:, None].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            other = (sums[own].sum(0) - sums[own]) / left
            variance = np.maximum((squares[own].sum(0) - squares[own]) / left - other**2, 0) * left / (left - 1)
            result[own] = (mean[own] - other) / np.sqrt(np.square(error[own]) + variance / left)
    return result
