"""Effects as a differential-expression table, in the column names of scanpy and of pdex."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, norm

DIALECTS: Final = ("scanpy", "pdex")

_COLUMNS: Final = {
    "scanpy": {
        "perturbation": "group", "gene": "names", "score": "scores", "log2_fold_change": "logfoldchanges",
        "p_value": "pvals", "fdr": "pvals_adj",
    },
    "pdex": {
        "perturbation": "target", "gene": "feature", "log2_fold_change": "log2_fold_change", "p_value": "p_value",
        "fdr": "fdr",
    },
}  # fmt: skip


def differential_table(effects: pd.DataFrame, error: NDArray[np.float64] | None, *, dialect: str) -> pd.DataFrame:
    """Test effects against zero and name the columns as a dialect does.

    Parameters
    ----------
    effects
        ``perturbation``, ``gene``, ``delta`` (natural log units); rows without a delta are left out.
    error
        Standard error of each delta, or None; a gene whose error is zero or NaN is not tested.
    dialect
        One of :data:`DIALECTS`.
    """
    known = effects["delta"].notna().to_numpy()
    table = effects[known].reset_index(drop=True)
    delta = table["delta"].to_numpy(dtype=np.float64)
    spread = np.full(len(table), np.nan) if error is None else np.asarray(error, dtype=np.float64)[known]
    score = delta / np.where(spread > 0, spread, np.nan)
    p_value = pd.Series(2 * norm.sf(np.abs(score)))
    of_condition = p_value.groupby(table["perturbation"].to_numpy(), sort=False)
    columns = {
        "perturbation": table["perturbation"],
        "gene": table["gene"],
        "score": score,
        "log2_fold_change": delta / np.log(2),
        "p_value": p_value,
        "fdr": of_condition.transform(_adjust),
    }
    return pd.DataFrame({name: columns[column] for column, name in _COLUMNS[dialect].items()})


def _adjust(p_value: pd.Series) -> pd.Series:
    """Return Benjamini and Hochberg's rates over the values that are there."""
    tested = p_value.notna()
    rates = pd.Series(np.nan, index=p_value.index)
    if tested.any():
        rates[tested] = false_discovery_control(p_value[tested])
    return rates
