"""What the networks of a residual are told of training genes: what the core says of each without its own cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.neural import Told
from scperturbmamba.models.pair_features import pair_features

_MOST_IMPORTANT = 0.95  # quantile of importance beyond which it does not grow


def told_of(data: Bundle, core: Knowledge, scale: float) -> Told:
    """Return what the core says of every row without it, and of the validation rows, which it has not seen.

    What it is off by in all training rows alike is added. Every row is of one part; ``scale`` is a typical effect.
    """
    base, pairs = np.zeros_like(data.delta), None
    for context in range(len(data.contexts)):
        rows = np.flatnonzero(data.context == context)
        parts = [data.conditions[row].parts[0] for row in rows]
        known, left_out = core.left_out(context)
        place = {part: number for number, part in enumerate(known)}
        heard = np.array([part in place and not data.is_val[row] for row, part in zip(rows, parts)], bool)
        conditions = [Condition((part,)) for part in parts]
        said = core.predict(conditions, context=context)
        said[heard] = left_out[[place[part] for part, one in zip(parts, heard) if one]]
        base[rows] = said + _common(data, rows[heard], said[heard])
        told = pair_features(core, parts, said - core.means(conditions, context), data.genes, context, scale)
        pairs = np.zeros((len(base), *told.shape[1:]), np.float32) if pairs is None else pairs
        pairs[rows] = told
    centre = np.mean([core.mean(context) for context in range(len(data.contexts))], axis=0)
    return Told(base, np.asarray(pairs), centre, importance(data))


def _common(data: Bundle, rows: NDArray[np.int64], said: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (genes,) how far training rows are off on average: a constant is the core's to say, not the networks'."""
    if not len(rows):
        return np.zeros(len(data.genes), np.float32)
    known = data.known[rows]
    off = np.where(known, data.delta[rows] - said, 0).sum(0) / np.maximum(known.sum(0), 1)
    return np.asarray(off, np.float32)


def single_rows(data: Bundle) -> NDArray[np.int64]:
    """Return the rows in which one part alone was perturbed."""
    return np.flatnonzero([len(one.parts) == 1 for one in data.conditions])


def importance(data: Bundle) -> NDArray[np.float32]:
    """Return how much each effect counts in training: half the same for all, half by how clearly its gene responds.

    By gene and not by entry: where an entry counts for more the larger it came out, what is learned is too large.
    """
    given = np.ones_like(data.delta) if data.weight is None else data.weight
    train = data.training()
    if not np.isfinite(data.se[train]).all():
        return given
    t = np.square(data.delta[train] / np.maximum(data.se[train], 1e-6)).mean(0)
    t = np.minimum(t, np.quantile(t, _MOST_IMPORTANT))
    return np.asarray(given * (0.5 + 0.5 * t / max(float(t.mean()), 1e-12)), np.float32)
