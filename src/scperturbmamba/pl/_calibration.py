"""Are predicted effects as large as those measured: genes binned by prediction."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scperturbmamba.pl._style import ACCENT, FAINT, INK, MUTED, WARN, dress, note

_CUTS = (0, 0.5, 1, 2.5, 5, 10, 20, 35, 50, 65, 80, 90, 95, 97.5, 99, 99.5, 100)  # percent; narrow where effects are
_FEWEST = 10  # entries of a bin
_Z = 1.96


def draw_calibration(
    ax: Axes, predicted: NDArray[np.floating], measured: NDArray[np.floating], *, title: str = "", colour: str = ACCENT
) -> Axes:
    """Draw the mean measured effect of (rows × genes) in bins of the predicted effect, with its 95 % interval.

    On the diagonal effects are as large as predicted; flatter is a prediction that is too large, steeper one that is
    too small.
    """
    x, y, error = calibration(predicted, measured)
    limit = 1.05 * float(np.nanmax(np.abs([x, y - error, y + error]), initial=0)) or 1.0
    ax.axline((0, 0), slope=1, color=MUTED, lw=0.8, zorder=0)
    for draw in (ax.axhline, ax.axvline):
        draw(0, color=FAINT, lw=0.8, zorder=0)
    ax.errorbar(x, y, yerr=error, fmt="-o", color=colour, ms=4, lw=1, elinewidth=1.2, ecolor=colour, zorder=3)
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    ax.locator_params(nbins=5)
    if len(x) < 2:
        note(ax, 0.03, 0.97, "one prediction for all", color=WARN, transform=ax.transAxes, va="top")
    else:
        note(ax, 0.03, 0.97, f"slope = {_slope(x, y):.2f}", color=INK, transform=ax.transAxes, va="top")
    return dress(ax, xlabel="mean predicted effect", ylabel="mean measured effect", title=title)


def calibration(
    predicted: NDArray[np.floating], measured: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each bin, the mean predicted and measured effect and the half width of the latter's 95 % interval.

    The entries of a row are not independent: the error is that of a sum over rows (clusters).
    """
    known = np.isfinite(predicted) & np.isfinite(measured)
    guess, truth = (np.asarray(one, np.float64)[known] for one in (predicted, measured))
    row = np.nonzero(known)[0]
    if not len(guess):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    edges = np.unique(np.percentile(guess, _CUTS))
    place = np.clip(np.searchsorted(edges, guess, side="right") - 1, 0, max(len(edges) - 2, 0))
    found = []
    for number in range(max(len(edges) - 1, 1)):
        own = place == number
        if own.sum() >= min(_FEWEST, len(guess)):
            found.append((guess[own].mean(), truth[own].mean(), _Z * _clustered_error(truth[own], row[own])))
    x, y, error = np.array(found).T.reshape(3, -1)
    return x, y, error


def _clustered_error(values: NDArray[np.float64], row: NDArray[np.int64]) -> float:
    rows, group = np.unique(row, return_inverse=True)
    if len(rows) < 2:
        return float("nan")
    sums = np.bincount(group, values - values.mean())
    return float(np.sqrt(np.square(sums).sum() * len(rows) / (len(rows) - 1)) / len(values))


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    rest = x - x.mean()
    return float((rest * (y - y.mean())).sum() / np.square(rest).sum())
