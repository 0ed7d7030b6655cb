"""A model against a baseline, perturbation by perturbation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scperturbmamba._checks import check_choice
from scperturbmamba._judging import CEILINGS
from scperturbmamba.pl._judgement import chosen_metrics, per_perturbation, read_table
from scperturbmamba.pl._names import challengers, low_is_good, metric_name, model_name, plain
from scperturbmamba.pl._style import ACCENT, FAINT, MUTED, PLAIN, WARN, dress, note, panel

_MOST_NAMES = 5
_LETTER, _LINE = 5.0, 9.5  # points
_Spot = tuple[float, float, float]  # start, end, height of a text


def paired(
    adata: AnnData,
    baseline: str = "mean",
    *,
    model: str | None = None,
    metric: str = "mse",
    key: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the score of a model against that of a baseline, a point per held-out condition.

    The five conditions in which the two differ most are named.

    Parameters
    ----------
    adata
        A screen after ``tl.benchmark``, or predictions after ``tl.evaluate``.
    baseline
        What to compare with; any model.
    model
        The default is the first that is no baseline.
    metric
        One of the metrics of the scores.
    key
        Name of the slot; the default is whichever is there.
    ax
        Axes to draw into.

    Returns
    -------
    Axes
        The baseline to the right, the model upwards, equal where they are on the line.

    Raises
    ------
    KeyError
        There are no scores.
    ValueError
        A model or metric is not in them.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.benchmark(adata, ["no_change", "mean", "additive"])
    >>> ax = spm.pl.paired(adata, model="additive", metric="l2")
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('mean', 'additive')
    """
    scores = read_table(adata, "scores", key)
    chosen_metrics(scores, metric)
    known = [name for name in dict.fromkeys(scores["model"]) if name not in CEILINGS]
    check_choice(baseline, known, "baseline")
    if model is None:
        others = [name for name in (*challengers(known), *reversed(known)) if name != baseline]
        model = others[0] if others else baseline
    check_choice(model, known, "model")

    table = per_perturbation(scores, metric)[list(dict.fromkeys([baseline, model]))].dropna()
    ax = panel(ax, width=3.6, height=3.4)
    x, y = table[baseline].to_numpy(), table[model].to_numpy()
    limits = _limits(np.concatenate([x, y]))
    gain = (x - y) if low_is_good(metric) else (y - x)
    ax.axline((limits[0], limits[0]), slope=1, color=MUTED, lw=0.8, zorder=0)
    colours = np.where(gain > 0, ACCENT, np.where(gain < 0, WARN, MUTED))
    ax.scatter(x, y, s=14, color=colours, alpha=0.75, linewidths=0, zorder=2)
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(PLAIN)
    _shade(ax, limits, below=low_is_good(metric))
    corners = _name_sides(ax, (model, baseline), gain, below=low_is_good(metric))
    _name_outliers(ax, (x, y), table.index, gain, corners)
    return dress(ax, xlabel=model_name(baseline), ylabel=model_name(model), title=metric_name(metric))


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return ends of both axes, with a line of text free of points above and below."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    room = 0.12 * (high - low) or 0.5
    return low - room, high + room


def _shade(ax: Axes, limits: tuple[float, float], *, below: bool) -> None:
    """Shade the side on which the model is better."""
    low, high = limits
    corner = (high, low) if below else (low, high)
    ax.fill([low, high, corner[0]], [low, high, corner[1]], color=FAINT, alpha=0.45, linewidth=0, zorder=-1)


def _name_sides(ax: Axes, names: tuple[str, str], gain: NDArray[np.float64], *, below: bool) -> list[_Spot]:
    """Write into each corner who is better there, and how often; return where."""
    (low, high), (letter, line) = ax.get_xlim(), _size(ax)
    lower_right, upper_left = names if below else names[::-1]
    counts = {names[1]: int((gain < 0).sum()), names[0]: int((gain > 0).sum())}
    colours = {names[1]: WARN, names[0]: ACCENT}
    words = {name: f"{model_name(name)} better: {counts[name]} of {len(gain)}" for name in names}
    places: list[tuple[str, float, float, dict[str, Any]]] = [
        (lower_right, 0.98, 0.02, {"ha": "right", "va": "bottom"}),
        (upper_left, 0.02, 0.98, {"ha": "left", "va": "top"}),
    ]
    for name, x, y, sides in places:
        note(ax, x, y, words[name], color=colours[name], transform=ax.transAxes, **sides)
    widths = [letter * (len(words[name]) + 2) for name in (lower_right, upper_left)]
    return [(high - widths[0], high, low + line), (low, low + widths[1], high - line)]


def _name_outliers(
    ax: Axes,
    points: tuple[NDArray[np.float64], NDArray[np.float64]],
    names: pd.Index,
    gain: NDArray[np.float64],
    taken: list[_Spot],
) -> None:
    """Name the conditions of the largest difference, beside their points, where neither a name nor a point is."""
    (low, high), (letter, line), (x, y) = ax.get_xlim(), _size(ax), points
    for place in np.argsort(-np.abs(gain), kind="stable")[:_MOST_NAMES]:
        name = str(names[place])
        spots = list(_spots(x[place], y[place], (len(name) + 1.5) * letter, line))
        inside = [spot for spot in spots if low < spot[0] and spot[1] < high]
        free = [spot for spot in inside if not any(_meet(spot, other, line) for other in taken)]
        if free and gain[place] != 0:
            others = np.arange(len(x)) != place
            best = min(free, key=lambda spot: _covered(spot, x[others], y[others], line))
            taken.append(best)
            side = "left" if best[0] == x[place] else "right"
            note(ax, x[place], best[2], f" {plain(name)} ", ha=side, va="center")


def _size(ax: Axes) -> tuple[float, float]:
    """Return the width of a letter and the height of a line, in data units."""
    (low, high), figure = ax.get_xlim(), ax.get_figure(root=True)
    points = 72 * ax.get_position().width * (figure.get_size_inches()[0] if figure is not None else 1)
    return _LETTER / points * (high - low), _LINE / points * (high - low)


def _spots(x: float, y: float, length: float, line: float) -> Iterator[_Spot]:
    """Return places of a name: to the right and left of its point, at its height, above or below."""
    for height in (y, y + 0.8 * line, y - 0.8 * line):
        yield x, x + length, height
        yield x - length, x, height


def _meet(one: _Spot, other: _Spot, line: float) -> bool:
    """Tell whether two texts would overlap."""
    return one[0] < other[1] and other[0] < one[1] and abs(one[2] - other[2]) < line


def _covered(spot: _Spot, x: NDArray[np.float64], y: NDArray[np.float64], line: float) -> int:
    """Return how many points a text would cover."""
    return int(((x > spot[0]) & (x < spot[1]) & (np.abs(y - spot[2]) < line / 2)).sum())
