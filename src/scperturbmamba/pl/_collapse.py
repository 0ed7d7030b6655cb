"""Do predictions differ as the measured effects do: two maps of correlations in one order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from scperturbmamba.pl._names import plain
from scperturbmamba.pl._style import DIVERGING, FAINT, INK, dress

_MOST_NAMES = 40
_BEST_ORDER = 400  # rows up to which the order of the leaves is made as smooth as it can be
_ROUNDING = 1e-6


def draw_collapse(axes: Sequence[Axes], profiles: Mapping[str, NDArray[np.floating]], names: Sequence[str]) -> None:
    """Draw the correlation between every two rows of each table (rows × genes), in the order of the first.

    The first is what was measured, clustered; the colours run from −1 to 1 in all. The title has the mean off the
    diagonal, which is near 1 where predictions have collapsed.
    """
    tables = {title: correlations(rows) for title, rows in profiles.items()}
    order = leaf_order(next(iter(tables.values())))
    image: AxesImage | None = None
    for number, (ax, (title, alike)) in enumerate(zip(axes, tables.items())):
        shown = alike[np.ix_(order, order)]
        ax.spines[:].set(visible=True, color=FAINT)
        image = ax.imshow(shown, cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        if number == 0 and len(order) <= _MOST_NAMES:
            ax.set_yticks(range(len(order)), [plain(str(names[row])) for row in order], fontsize=6)
            ax.tick_params(axis="y", length=0, pad=1)
        off = alike[~np.eye(len(alike), dtype=bool)]
        dress(ax, title=title, xlabel=f"mean r = {off.mean():.2f}" if len(off) else "")
    if image is not None:
        bar = axes[0].figure.colorbar(image, ax=list(axes), ticks=[-1, 0, 1], shrink=0.6, aspect=14, pad=0.01)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, color=INK, labelcolor=INK, width=0.6, length=2)


def correlations(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return Pearson's correlation of every two rows over the genes finite in all; 0 with a constant row."""
    table = np.asarray(rows, np.float64)
    table = table[:, np.isfinite(table).all(axis=0)]
    rest = table - table.mean(axis=1, keepdims=True) if table.shape[1] else table
    norm = np.linalg.norm(rest, axis=1, keepdims=True)
    varied = norm > _ROUNDING * np.linalg.norm(table, axis=1, keepdims=True)
    unit = np.divide(rest, norm, out=np.zeros_like(rest), where=varied)
    return np.clip(unit @ unit.T, -1, 1)


def leaf_order(alike: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows in the order of a tree (average linkage on 1 − r), so that what is alike lies together."""
    if len(alike) < 3:
        return np.arange(len(alike))
    apart = 1 - alike
    np.fill_diagonal(apart, 0)
    condensed = squareform((apart + apart.T) / 2, checks=False)
    return leaves_list(linkage(condensed, "average", optimal_ordering=len(alike) <= _BEST_ORDER)).astype(np.int64)
