"""Tell cells of raw counts from profiles."""

from __future__ import annotations

from typing import Any

import numpy as np

_BLOCK = 4096  # rows looked at together


def are_counts(matrix: Any) -> bool:
    """Tell whether a matrix holds whole numbers, none negative, as cells that were drawn do and profiles do not."""
    blocks = (matrix[start : start + _BLOCK] for start in range(0, matrix.shape[0], _BLOCK))
    return all(_are_whole(block) for block in blocks)


def _are_whole(block: Any) -> bool:
    values = block.data if hasattr(block, "indptr") else np.asarray(block)
    return bool((values >= 0).all() and (values == np.rint(values)).all() and np.isfinite(values).all())
