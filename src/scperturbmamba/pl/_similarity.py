"""Which perturbations act alike: a clustered heat map with its tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list

from scperturbmamba import _keys
from scperturbmamba._checks import check_key, check_positive, did_you_mean
from scperturbmamba.pl._style import DIVERGING, FAINT, INK, MUTED, note, panel

_MOST_NAMES = 60  # rows beyond which names no longer fit
_PITCH = 0.115  # inches of a row that has a name
_NAME_SIZE = 7
_PAD = 0.05  # inches around the figure
_TREE = 0.2  # width of the tree, in widths of the map
_WORDS = {
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "cosine": "cosine similarity",
}


def similarity(
    adata: AnnData,
    *,
    key: str = _keys.SIMILARITY,
    names: Sequence[str] | None = None,
    limit: float = 1.0,
    ax: Axes | None = None,
) -> Axes:
    """Draw how alike the effects of perturbations are, clustered, with the tree that joins them.

    Parameters
    ----------
    adata
        Profiles after ``tl.similar_perturbations``.
    key
        Name of the slot.
    names
        Rows to name; the default is all where they fit (60 or fewer), and none where they do not.
    limit
        Similarity at which the colours end, on both sides of 0.
    ax
        Axes to draw into; the tree, the colour bar and the names lie around them.

    Returns
    -------
    Axes
        Rows × rows in the order of the leaves, the first at the top. ``child_axes`` holds the tree and the colour
        bar.

    Raises
    ------
    KeyError
        There is no similarity, or a row to name is not in it.
    ValueError
        Rows were dropped since the tree was made, or ``limit`` is not above 0.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> bulk = spm.pp.pseudobulk(adata)
    >>> spm.tl.similar_perturbations(bulk)
    >>> ax = spm.pl.similarity(bulk)
    >>> [tick.get_text() for tick in ax.get_yticklabels()] == bulk.uns["similarity"]["order"]
    True
    """
    check_key(adata, "uns", key, made_by="spm.tl.similar_perturbations")
    check_key(adata, "obsp", key, made_by="spm.tl.similar_perturbations")
    check_positive(limit, "limit")
    order = [str(name) for name in adata.uns[key]["order"]]
    rows = _places(adata, order)
    alike = np.asarray(adata.obsp[key])[np.ix_(rows, rows)]

    shown = list(names) if names is not None else order if len(order) <= _MOST_NAMES else []
    side = _PITCH * max(len(order), 20) if len(order) <= _MOST_NAMES else 4.8
    own = plt.figure(figsize=(side, side)) if ax is None else None
    ax = panel(ax if own is None else own.add_axes((0, 0, 1, 1)))
    height = 72 * ax.get_window_extent().height / ax.figure.dpi  # points
    ax.set_facecolor(FAINT)
    ax.spines[:].set_visible(False)
    image = ax.imshow(alike, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    if names is None:
        ax.set_yticks(range(len(shown)), shown, fontsize=min(_NAME_SIZE, 0.85 * height / len(order)))
        ax.tick_params(axis="y", length=0, pad=2, left=False, labelleft=False, labelright=True)
    else:
        _draw_some_names(ax, order, shown, gap=1.2 * _NAME_SIZE * len(order) / height)
    _draw_tree(ax, np.asarray(adata.uns[key]["linkage"]))
    _draw_bar(ax, image, adata.uns[key].get(_keys.PARAMS, {}), thickness=6 / height)
    if own is not None:
        _fit(own, ax)
    return ax


def _fit(figure: Figure, ax: Axes) -> None:
    """Make a figure as large as all that lies around its axes, whose own size is kept."""
    box = ax.get_tightbbox() or ax.bbox
    around, inside = np.asarray(box.extents) / figure.dpi, np.asarray(ax.bbox.extents) / figure.dpi  # x0, y0, x1, y1
    left, bottom = inside[:2] - around[:2] + _PAD
    width, height = around[2:] - around[:2] + 2 * _PAD
    across, up = inside[2:] - inside[:2]
    figure.set_size_inches(width, height)
    ax.set_position((left / width, bottom / height, across / width, up / height))


def _places(adata: AnnData, order: list[str]) -> NDArray[np.int64]:
    rows = adata.obs_names.get_indexer(order)
    if (rows < 0).any():
        missing = [name for name, row in zip(order, rows) if row < 0]
        msg = (
            f"expected every row of the tree in `adata`; {len(missing)} are gone, such as {missing[0]!r}. "
            "Run `spm.tl.similar_perturbations` again."
        )
        raise ValueError(msg)
    return rows


def _draw_some_names(ax: Axes, order: list[str], names: list[str], *, gap: float) -> None:
    """Write names beside the map, moved apart where they lie close, each with a line to its row."""
    for name in names:
        if name not in order:
            msg = f"`names` has {name!r}, which is not in the tree.{did_you_mean(name, order)}"
            raise KeyError(msg)
    places = sorted(order.index(name) for name in set(names))
    options: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "textcoords": ax.get_yaxis_transform()}
    line = {"arrowstyle": "-", "color": MUTED, "lw": 0.5, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
    for place, height in zip(places, _spread(places, gap, len(order) - 1)):
        ends = ((1.005, place), (1.04, height))
        ax.annotate(order[place], *ends, arrowprops=line, fontsize=_NAME_SIZE, color=INK, va="center", **options)


def _spread(places: list[int], gap: float, last: int) -> list[float]:
    """Move heights apart, down first and then up from the end, so that texts do not overlap."""
    heights = [float(place) for place in places]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + gap)
    room = float(last)
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], room)
        room = heights[index] - gap
    return heights


def _draw_tree(ax: Axes, tree: NDArray[np.float64]) -> None:
    """Draw a fork for each joint, from the leaves at the right edge to the root at the left."""
    n = len(tree) + 1
    height, x = np.empty(2 * n - 1), np.zeros(2 * n - 1)
    height[leaves_list(tree)] = np.arange(n)
    forks = []
    for joint, (one, other, apart, _) in enumerate(tree, start=n):
        a, b = int(one), int(other)
        height[joint], x[joint] = (height[a] + height[b]) / 2, apart
        forks.append([(x[a], height[a]), (apart, height[a]), (apart, height[b]), (x[b], height[b])])
    inset = ax.inset_axes((-_TREE, 0, _TREE - 0.01, 1))
    inset.add_collection(LineCollection(forks, colors=INK, linewidths=min(0.8, 40 / n), capstyle="projecting"))
    inset.set(xlim=(1.03 * x.max(), 0), ylim=ax.get_ylim())
    inset.set_axis_off()


def _draw_bar(ax: Axes, image: AxesImage, params: Mapping[str, Any], *, thickness: float) -> None:
    """Draw a short colour bar above the map, with what was compared beside it."""
    inset = ax.inset_axes((0, 1 + thickness, 0.25, thickness))
    limit = float(image.get_clim()[1] or 1)
    bar = ax.figure.colorbar(image, cax=inset, orientation="horizontal", ticks=[-limit, 0, limit], format=_signed)
    bar.outline.set_visible(False)
    inset.xaxis.set_ticks_position("top")
    inset.tick_params(labelsize=_NAME_SIZE, color=INK, labelcolor=INK, width=0.6, length=2, pad=1)
    centred = ", centred" if params.get("centred") else ""
    words = _WORDS.get(params.get("metric", ""), "similarity") + f" of effects{centred}"
    note(ax, 0.29, 1 + 1.5 * thickness, words, transform=ax.transAxes, va="center")


def _signed(value: float, _: int | None = None) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
