"""A logarithmic axis of doses with the control, dose 0, at its left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from scperturbmamba.pl._style import INK, PLAIN

_STEPS: Final = ((1.2, (1.0, 2.0, 5.0)), (2.6, (1.0, 3.0)), (np.inf, (1.0,)))  # up to so many decades


def dose_axis(ax: Axes, doses: Iterable[float]) -> float:
    """Make the lower axis one of doses, broken before the lowest; return where the control stands."""
    low, high = min(doses), max(doses)
    decades = float(np.log10(high / low))
    step = 10 ** max(0.3, 0.16 * decades)
    control, edge = low / step**1.15, step**0.3
    ax.set(xscale="log", xlim=(control / edge, high * edge))
    steps = next(steps for limit, steps in _STEPS if decades < limit)
    ticks = [one for one in LogLocator(subs=steps).tick_values(low, high) if low / 1.001 <= one <= high * 1.001]
    ax.xaxis.set_major_locator(FixedLocator([control, *ticks]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, n: "0" if np.isclose(x, control) else PLAIN(x, n)))
    ax.xaxis.set_minor_locator(NullLocator())
    _break(ax, control * step**0.55, step**0.04)
    return control


def _break(ax: Axes, place: float, half: float) -> None:
    """Draw two strokes across the axis, and nothing of it between them."""
    ends = [place / half, place * half]
    base: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False, "gid": "break"}
    ax.plot(ends, [0, 0], color="white", lw=2.5, solid_capstyle="butt", zorder=5, **base)
    strokes: Any = [(-0.5, -1), (0.5, 1)]
    ax.plot(ends, [0, 0], ls="", marker=strokes, ms=7, mew=0.8, color=INK, zorder=6, **base)
