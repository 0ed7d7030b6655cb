"""What was said of parts by those that had not seen them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.models.kernels import Rows


@dataclass(frozen=True)
class Trials:
    """Training parts, predicted without their own cells.

    Attributes
    ----------
    parts, context
        Predicted, and where.
    said
        (trials × genes): effects.
    nearest
        (trials,): likeness of the most alike of what was not left out.
    without_name
        (trials,): whether everything of that name was left out, at any dose and in any context.
    """

    parts: tuple[Part, ...]
    context: NDArray[np.int64]
    said: Rows
    nearest: Rows
    without_name: NDArray[np.bool_]
