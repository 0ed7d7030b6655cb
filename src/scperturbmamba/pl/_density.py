"""All held-out rows and genes at once: predicted against measured."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from scperturbmamba import metrics
from scperturbmamba.pl._style import ACCENT, FAINT, INK, MUTED, WARN, dress, note

_COLOURS = LinearSegmentedColormap.from_list("few_many", [FAINT, ACCENT, INK])
_SHOWN = 99.95  # percent of the entries inside the axes


def draw_density(ax: Axes, predicted: NDArray[np.floating], measured: NDArray[np.floating], *, title: str = "") -> Axes:
    """Draw the density of (rows × genes) with the diagonal, the fitted line, their correlation and its slope.

    The slope is that of the prediction on the measurement: below 1 the prediction is too small. Few entries beyond
    the axes are counted in the note.
    """
    x, y = finite_pairs(measured, predicted)
    size = np.maximum(np.abs(x), np.abs(y))
    limit = float(np.percentile(size, _SHOWN)) * 1.05 if len(size) and size.any() else 1.0
    inside = size <= limit
    extent = (-limit, limit, -limit, limit)
    ax.axline((0, 0), slope=1, color=MUTED, lw=0.8, zorder=0)
    ax.hexbin(x[inside], y[inside], gridsize=45, extent=extent, bins="log", mincnt=1, cmap=_COLOURS, linewidths=0.1)
    r, slope = agreement_of(x, y)
    if np.isfinite(slope):
        ax.axline((float(x.mean()), float(y.mean())), slope=slope, color=WARN, lw=1.2, zorder=3)
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    ax.locator_params(nbins=5)
    note(ax, 0.03, 0.97, f"r = {r:.2f}\nslope = {slope:.2f}", transform=ax.transAxes, va="top")
    beyond = int((~inside).sum())
    if beyond:
        note(ax, 0.98, 0.02, f"{beyond:,} beyond", color=MUTED, transform=ax.transAxes, ha="right", va="bottom")
    return dress(ax, xlabel="measured effect", ylabel="predicted effect", title=title)


def finite_pairs(
    one: NDArray[np.floating], other: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the entries that are finite on both sides, flat."""
    a, b = np.asarray(one, np.float64).ravel(), np.asarray(other, np.float64).ravel()
    known = np.isfinite(a) & np.isfinite(b)
    return a[known], b[known]


def agreement_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return the correlation of all entries, and the slope of y on x; NaN where x does not vary."""
    if not len(x):
        return float("nan"), float("nan")
    rest = x - x.mean()
    variance = float(np.square(rest).sum())
    slope = float((rest * (y - y.mean())).sum()) / variance if variance > 0 else float("nan")
    return float(metrics.pearson(x, y)[0]), slope
