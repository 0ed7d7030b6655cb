"""Find the raw counts of an AnnData, in one order, for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_finite


@dataclass(frozen=True)
class Counts:
    """Raw counts and where they came from.

    Attributes
    ----------
    matrix
        Cells × genes of ``adata``, CSR or dense, non-negative integers in any dtype.
    source
        ``"layers.counts"``, ``"raw.X"``, ``"X"`` or ``"layers.<name>"``.
    """

    matrix: Any
    source: str


def find_counts(adata: AnnData, *, layer: str | None = None) -> Counts:
    """Return the raw counts: ``layers["counts"]``, then ``raw.X``, then ``X``; or the layer asked for.

    Raises
    ------
    KeyError
        The layer asked for is not there.
    ValueError
        No candidate holds non-negative whole numbers; the message says why for each.
    """
    reasons = []
    for source, matrix in _candidates(adata, layer):
        reason = _why_not_counts(matrix, source)
        if reason is None:
            return Counts(_readable(matrix), source)
        reasons.append(f"`{source}` {reason}")
    msg = (
        f"expected raw counts (whole numbers, none negative); {'; '.join(reasons)}. "
        'Put the raw counts in `adata.layers["counts"]`.'
    )
    raise ValueError(msg)


def _candidates(adata: AnnData, layer: str | None) -> list[tuple[str, Any]]:
    if layer is not None:
        if layer not in adata.layers:
            names = [name for name in adata.layers if name is not None]
            msg = f"`adata.layers` has no {layer!r}. Found: {names}."
            raise KeyError(msg)
        return [(f"layers.{layer}", adata.layers[layer])]
    found: list[tuple[str, Any]] = []
    if _keys.COUNTS in adata.layers:
        found.append((f"layers.{_keys.COUNTS}", adata.layers[_keys.COUNTS]))
    if adata.raw is not None and adata.var_names.isin(adata.raw.var_names).all():
        found.append(("raw.X", adata.raw[:, adata.var_names].X))
    found.append(("X", adata.X))
    return found


def _readable(matrix: Any) -> Any:
    """Return CSR or dense in memory; a backed matrix is read here."""
    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    return matrix.tocsr() if sp.issparse(matrix) else np.asarray(matrix)


def _why_not_counts(matrix: Any, source: str) -> str | None:
    if matrix is None:
        return "is empty"
    matrix = _readable(matrix)
    data = matrix.data if sp.issparse(matrix) else matrix
    if data.dtype == bool or not np.issubdtype(data.dtype, np.number):
        return f"is of dtype {data.dtype}"
    if np.issubdtype(data.dtype, np.floating):
        check_finite(matrix, what=f"the counts in `{source}`")
        if data.size and (data != np.rint(data)).any():
            looks_logged = data.min() >= 0 and data.max() < 20
            return "holds fractions" + (", as log-normalised data do" if looks_logged else "")
    if data.size and data.min() < 0:
        return f"holds negative values (lowest {data.min():g})"
    return None
