"""How often held-out measurements lie in the intervals that were predicted for them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.metrics import coverage

_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_Z = 1.96


def coverage_table(predicted: AnnData, rows: NDArray[np.int64], measured: NDArray[np.float32]) -> pd.DataFrame | None:
    """Return a row per level: ``nominal``, ``observed``, ``low``, ``high`` (95 %, over conditions) and ``n`` of them.

    ``measured`` are effects (rows × genes) against the control that the predictions start from. None where the
    predictions carry no intervals.
    """
    if _keys.MULTIPLES not in predicted.obsm or _keys.SD not in predicted.layers:
        return None
    delta, sd = (np.asarray(predicted.layers[name], np.float64)[rows] for name in (_keys.DELTA, _keys.SD))
    multiples = predicted.obsm[_keys.MULTIPLES].iloc[rows]
    known = np.isfinite(sd).any(1) & (sd > 0).any(1)
    if not known.any():
        return None
    found = []
    for level in _LEVELS:
        half = multiples[f"{level:.2f}"].to_numpy()[:, None] * sd
        inside = coverage(measured[known], (delta - half)[known], (delta + half)[known])
        error = _Z * inside.std(ddof=1) / np.sqrt(len(inside)) if len(inside) > 1 else np.nan
        mean = float(inside.mean())
        found.append({"nominal": level, "observed": mean, "low": mean - error, "high": mean + error, "n": len(inside)})
    table = pd.DataFrame(found)
    return table.set_index(table.index.astype(str))
