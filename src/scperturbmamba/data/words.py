"""A column as words, whatever pandas calls a word and a missing one."""

from __future__ import annotations

import pandas as pd


def words_of(values: pd.Series, *, missing: str = "") -> pd.Series:
    """Return every value as a string, and ``missing`` where there is none.

    ``astype(str)`` alone writes a missing value as ``"nan"`` or ``"None"`` before pandas 3 and keeps it missing since.
    """
    return values.astype(object).where(values.notna(), missing).astype(str)
