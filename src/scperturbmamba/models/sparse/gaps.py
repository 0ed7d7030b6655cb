"""Which of the two knowledge cores a table of effects needs."""

from __future__ import annotations

import numpy as np

from scperturbmamba.data.bundle import Bundle

GAPS = 0.0  # share of the training entries that may be unknown before a table counts as sparse


def is_sparse(data: Bundle) -> bool:
    """Tell whether more than the share ``GAPS`` (0: any) of the training entries is unknown.

    The dense core compares whole profiles, which a gap breaks; a table without gaps never needs the sparse one.
    """
    known = data.known[data.training()]
    return bool(known.size) and float(1 - np.mean(known)) > GAPS
