"""The look that all plots share: few colours, no frame, small type."""

from __future__ import annotations

from typing import Any, Final, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

INK: Final = "#22262b"  # text, axes, the main marks
MUTED: Final = "#9aa1a9"  # what is there for comparison
FAINT: Final = "#dfe3e7"  # grounds, grids, what was left out
ACCENT: Final = "#0072b2"  # what the plot is about
WARN: Final = "#d55e00"  # limits, and what is dropped
PALETTE: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f6a4f", "#22262b")  # Okabe, Ito

PLAIN: Final = FuncFormatter(lambda value, _: f"{value:,.10g}")  # 0.5, 10, 1,000

Corner = Literal["upper left", "upper right", "lower left", "lower right"]

_LABEL = 9
_TICK = 8


def panel(ax: Axes | None = None, *, width: float = 3.6, height: float = 2.7) -> Axes:
    """Return the axes given, or new ones of this size (inches), in the style of the package."""
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return despine(ax)


def panels(n_rows: int, n_columns: int, *, width: float, height: float, **options: Any) -> NDArray[Any]:
    """Return the axes, rows × columns, of a new figure of this size (inches), in the style of the package."""
    _, axes = plt.subplots(n_rows, n_columns, figsize=(width, height), layout="constrained", squeeze=False, **options)
    for ax in axes.flat:
        despine(ax)
    return np.asarray(axes)


def despine(ax: Axes) -> Axes:
    """Leave the left and the lower axis, thin and small."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(INK)
        ax.spines[side].set_linewidth(0.8)
    ax.tick_params(labelsize=_TICK, color=INK, labelcolor=INK, width=0.8, length=3)
    return ax


def dress(ax: Axes, *, xlabel: str = "", ylabel: str = "", title: str = "") -> Axes:
    """Write the labels of the axes and a title at the left."""
    ax.set_xlabel(xlabel, fontsize=_LABEL, color=INK)
    ax.set_ylabel(ylabel, fontsize=_LABEL, color=INK)
    ax.set_title(title, fontsize=_LABEL, color=INK, loc="left", fontweight="bold")
    return ax


def log_axis(ax: Axes, which: str = "x") -> Axes:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5, or at powers of ten where it is long."""
    ax.set(**{f"{which}scale": "log"})
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = axis.get_view_interval()
    short = high / max(low, 1e-12) < 150
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,)))
    axis.set_major_formatter(PLAIN)
    axis.set_minor_formatter(NullFormatter())
    return ax


def legend(ax: Axes, place: Corner) -> None:
    """Add a small legend without a frame that hides what lies behind it."""
    ax.legend(
        loc=place, fontsize=_TICK, labelcolor=INK, handlelength=1, borderaxespad=0.4, frameon=True, framealpha=1,
        edgecolor="none", facecolor="white",
    )  # fmt: skip


def note(ax: Axes, x: float, y: float, text: str, *, color: str = INK, **options: Any) -> None:
    """Write small text; ``x`` and ``y`` are in data units unless ``transform`` says otherwise."""
    ax.text(x, y, text, fontsize=_TICK, color=color, **options)
