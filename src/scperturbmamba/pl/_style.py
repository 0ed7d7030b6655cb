"""The look that all plots share: few colours, no frame, small type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

INK: Final = "#22262b"  # text, axes, the main marks
MUTED: Final = "#9aa1a9"  # what is there for comparison
FAINT: Final = "#dfe3e7"  # grounds, grids, what was left out
ACCENT: Final = "#0072b2"  # what the plot is about
WARN: Final = "#d55e00"  # limits, and what is dropped
PALETTE: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f6a4f", "#22262b")  # Okabe, Ito

DIVERGING: Final = LinearSegmentedColormap.from_list("unlike_alike", [ACCENT, "#ffffff", WARN])  # -1 to 1

PLAIN: Final = FuncFormatter(lambda value, _: f"{value:,.10g}")  # 0.5, 10, 1,000

Corner = Literal["upper left", "upper right", "lower left", "lower right"]

METRICS_IN_A_ROW: Final = 3
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


def metric_panels(n: int, *, width: float, height: float) -> tuple[NDArray[Any], list[Axes]]:
    """Return a grid of axes, three in a row, that share their rows of models, and the n that are drawn into."""
    n_columns = min(METRICS_IN_A_ROW, n)
    grid = panels(-(-n // n_columns), n_columns, width=width, height=height, sharey=True)
    grid[0, 0].figure.get_layout_engine().set(hspace=0.06)
    for ax in grid.flat[n:]:
        ax.set_axis_off()
    for ax in grid.flat[:n]:
        ax.tick_params(axis="y", length=0)
    return grid, list(grid.flat[:n])


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


def legend_below(ax: Axes, entries: Sequence[Artist]) -> None:
    """Add one small legend for all axes of a figure, below them."""
    ax.figure.legend(
        handles=entries, loc="outside lower center", ncols=len(entries), fontsize=_TICK, labelcolor=INK, frameon=False,
        handlelength=1.6, columnspacing=1.8,
    )  # fmt: skip


def fewer_ticks(ax: Axes, n: int = 5) -> Axes:
    """Put few round numbers on the lower axis, so that they do not touch in a narrow panel."""
    ax.xaxis.set_major_locator(MaxNLocator(n, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(PLAIN)
    return ax


def note(ax: Axes, x: float, y: float, text: str, *, color: str = INK, **options: Any) -> None:
    """Write small text; ``x`` and ``y`` are in data units unless ``transform`` says otherwise."""
    ax.text(x, y, text, fontsize=_TICK, color=color, **options)
