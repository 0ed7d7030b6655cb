"""Technical covariates of rows: numbers are averaged over cells, words become shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba._checks import check_column
from scperturbmamba.data.statistics import group_means


@dataclass(frozen=True)
class Covariates:
    """Averages of technical covariates, standardised over the rows.

    Attributes
    ----------
    names
        One per number: a column of ``obs``, or ``column=level``.
    rows
        (rows × names), float32.
    control
        (names,): the average of the training control cells, which predictions use.
    """

    names: tuple[str, ...]
    rows: NDArray[np.float32]
    control: NDArray[np.float32]


def read_covariates(
    adata: AnnData, columns: Sequence[str], row: NDArray[np.int64], control_cell: NDArray[np.int64], n_rows: int
) -> Covariates:
    """Average columns of ``obs`` per row and over the training controls.

    Raises
    ------
    KeyError
        A column is not there.
    ValueError
        A column holds NaN in a cell that is used.
    """
    if not columns:
        return Covariates((), np.zeros((n_rows, 0), np.float32), np.zeros(0, np.float32))
    used = (row >= 0) | (control_cell >= 0)
    for column in columns:
        check_column(adata, column, argument="covariates")
    known = adata.obs.loc[used, list(columns)]
    bad = [str(name) for name in known.columns[known.isna().any()]]
    if bad:
        msg = f"covariates must be known for every cell; {bad} hold NaN. Fill them, or leave them out of `covariates=`."
        raise ValueError(msg)
    values = pd.concat([_numbers(known[column], column) for column in columns], axis=1)
    matrix = values.to_numpy(np.float64)
    mean, _, _ = group_means(matrix, row[used], n_rows)
    control = matrix[control_cell[used] >= 0].mean(0)
    centre, spread = mean.mean(0), mean.std(0)
    spread[spread == 0] = 1
    return Covariates(
        tuple(map(str, values.columns)),
        ((mean - centre) / spread).astype(np.float32),
        ((control - centre) / spread).astype(np.float32),
    )


def _numbers(values: pd.Series, column: str) -> pd.DataFrame:
    """Return a column as numbers: counts in log, words as one column per level."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.astype(float)
        return pd.DataFrame({column: np.log1p(numbers) if (numbers >= 0).all() else numbers})
    return pd.get_dummies(values.astype(str), prefix=column, prefix_sep="=").astype(float)
