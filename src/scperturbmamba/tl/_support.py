"""How well a request is supported, a row per condition and context."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.trained import Trained

SEEN, PARTS_SEEN, FEATURES, NONE = "seen", "parts seen", "features", "none"


def row_table(model: Trained, rows: Sequence[tuple[Condition, int]]) -> pd.DataFrame:
    """Return the obs of predictions: a row per condition and context."""
    frame = model.frame
    labels = [frame.kinds.label(condition) for condition, _ in rows]
    names = [frame.contexts[level] for _, level in rows]
    cells = [frame.seen.get(key, 0) for key in zip(labels, names)]
    several = len(set(names)) > 1
    index = [f"{label} | {name}" if several else label for label, name in zip(labels, names)]
    measured = set(frame.encoder.genes)
    told = [model.support(condition, context=level) for condition, level in rows]
    return pd.DataFrame(
        {
            _keys.PERTURBATION: pd.Categorical(labels),
            "context": pd.Categorical(names),
            "seen": [n > 0 for n in cells],
            "n_train_cells": cells,
            "support": pd.Categorical([support(model, condition, n) for (condition, _), n in zip(rows, cells)]),
            "measured": [all(part.name in measured for part in condition.parts) for condition, _ in rows],
            "nearest": [", ".join(one.nearest) for one in told],
            "missing_sources": [", ".join(one.missing) for one in told],
        },
        index=index,
    )


def support(model: Trained, condition: Condition, n_train_cells: int) -> str:
    """Return on what a prediction rests: ``seen``, ``parts seen``, ``features`` or ``none``."""
    if n_train_cells > 0 or condition.is_control:
        return SEEN
    encoder = model.frame.encoder
    if all(part.name in encoder.parts for part in condition.parts):
        return PARTS_SEEN
    known = [part.name in encoder.parts or encoder.has_features(part) for part in condition.parts]
    return FEATURES if all(known) else NONE
