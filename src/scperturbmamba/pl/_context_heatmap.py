"""The effect of a perturbation in every context: a heat map of genes × contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_whole, did_you_mean
from scperturbmamba.pl._measured import check_genes, context_column, contexts_of, measured_beside, predicted_rows
from scperturbmamba.pl._names import plain
from scperturbmamba.pl._style import DIVERGING, FAINT, INK, legend_below, panels

_CELL: Final = (0.3, 0.17)  # inches
_LETTER: Final = 0.085  # inches of a letter of a title
_NAME: Final = 8  # points of a name
_FITS: Final = 4  # letters that fit below a column
_WORDS: Final = ("predicted", "measured")
_TITLE: Final[dict[str, Any]] = {"fontsize": 9, "color": INK, "loc": "left", "fontweight": "bold", "pad": 9}
_CIRCLE: Final[dict[str, Any]] = {"marker": "o", "ls": "", "ms": 4.5, "mfc": "white", "mec": INK, "mew": 0.9}
_SHOWN: Final = 98.0  # percent of the effects that the colours tell apart

Values = NDArray[np.float64]


def context_heatmap(
    predicted: AnnData,
    perturbations: str | Sequence[str] | None = None,
    *,
    measured: AnnData | None = None,
    genes: Sequence[str] | None = None,
    n_genes: int = 20,
    figsize: tuple[float, float] | None = None,
) -> list[Axes]:
    """Draw what a perturbation does to its strongest genes in every context, predicted beside measured.

    Genes and contexts that are alike stand side by side (average linkage over what is predicted). A context in which
    the perturbation was not in training has an open circle above its column.

    Parameters
    ----------
    predicted
        A result of ``tl.predict`` in several contexts.
    perturbations
        One or several, each with a panel of its own; the default is all.
    measured
        The screen, or a result of ``pp.pseudobulk`` with the ``context=`` of the training: a second panel for each
        perturbation, grey where nothing was measured.
    genes
        Genes to draw; the default is those that change most in any context, as measured where there is a measurement.
    n_genes
        How many of them.
    figsize
        Inches.

    Returns
    -------
    list of Axes
        One per perturbation, or two, predicted and measured: genes × contexts, change of log-normalised expression.

    Raises
    ------
    KeyError
        A perturbation or a gene is not there, or ``measured`` lacks the context column.
    ValueError
        ``n_genes`` is no whole number above zero, or no gene is named.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata, context="cell_line")
    >>> spm.tl.train_predictor(adata, preset="fast", context="cell_line")
    >>> predicted = spm.tl.predict(adata, "TP53")
    >>> (ax,) = spm.pl.context_heatmap(predicted, n_genes=5)
    >>> len(ax.get_yticks()), len(ax.get_xticks())
    (5, 2)
    """
    check_whole(n_genes, "n_genes")
    rows = predicted_rows(predicted)
    labels = _chosen(rows, perturbations)
    levels = contexts_of(rows[rows["label"].isin(labels)])
    candidates = list(predicted.var_names) if genes is None else as_names(genes)
    check_genes(predicted, candidates, "predicted")
    if measured is not None and genes is None:
        candidates = [gene for gene in candidates if gene in measured.var_names]
    guess = _cube(rows, predicted[:, candidates].layers[_keys.DELTA], labels, levels)
    truth = None
    if measured is not None:
        found = measured_beside(predicted, measured, genes=candidates, labels=labels)
        truth = _cube(found.rows, found.delta, labels, levels)
    chosen = np.arange(len(candidates)) if genes is not None else _strongest(guess if truth is None else truth, n_genes)
    if not len(chosen):
        msg = "expected at least one gene that is predicted and measured; found none."
        raise ValueError(msg)

    of_genes, of_contexts = guess[:, :, chosen].reshape(-1, len(chosen)).T, np.hstack(list(guess[:, :, chosen]))
    row = _order(of_genes, first=-np.nan_to_num(of_genes).mean(1))
    column = _order(of_contexts, first=np.arange(len(levels)))
    cubes = [cube[:, column][:, :, chosen[row]] for cube in (guess, truth) if cube is not None]
    names, contexts = [candidates[one] for one in chosen[row]], [levels[one] for one in column]

    limit = _limit(np.concatenate([cube.ravel() for cube in cubes]))
    axes = _axes(labels, len(contexts), len(names), len(cubes), figsize)
    for place, label in enumerate(labels):
        unseen = _unseen(rows, label, contexts)
        pair = axes[place * len(cubes) : (place + 1) * len(cubes)]
        for ax, cube, word in zip(pair, cubes, _WORDS):
            _draw_map(ax, cube[place].T, limit)
            _name_contexts(ax, contexts)
            title = plain(label) if ax is pair[0] else ""
            ax.set_title(f"{title}\n{word}" if len(pair) > 1 else title, **_TITLE)
        _mark(pair[0], unseen)
    axes[0].set_yticks(range(len(names)), names, fontstyle="italic", fontsize=_NAME)
    has_unseen = any(_unseen(rows, label, contexts).any() for label in labels)
    _draw_around(axes, limit, context_column(predicted) or "", has_unseen=has_unseen)
    return axes


def _chosen(rows: pd.DataFrame, perturbations: str | Sequence[str] | None) -> list[str]:
    found = list(dict.fromkeys(rows["label"]))
    labels = found if perturbations is None else list(dict.fromkeys(as_names(perturbations)))
    for label in labels:
        if label not in found:
            msg = f"`predicted` has no {label!r}.{did_you_mean(label, found)}"
            raise KeyError(msg)
    return labels


def _cube(rows: pd.DataFrame, effects: Values, labels: list[str], levels: list[str]) -> Values:
    """Return labels × contexts × genes, NaN where there is no such row."""
    place = {key: row for row, key in reversed(list(enumerate(zip(rows["label"], rows["context"]))))}
    cube = np.full((len(labels), len(levels), effects.shape[1]), np.nan)
    for i, label in enumerate(labels):
        for j, level in enumerate(levels):
            if (label, level) in place:
                cube[i, j] = effects[place[label, level]]
    return cube


def _strongest(cube: Values, n_genes: int) -> NDArray[np.int64]:
    """Return the genes with the largest effect in any row, NaN counting for nothing."""
    size = np.abs(np.nan_to_num(cube)).reshape(-1, cube.shape[2]).max(0, initial=0)
    return np.argsort(-size, kind="stable")[:n_genes]


def _order(values: Values, *, first: NDArray[Any]) -> NDArray[np.int64]:
    """Return rows so that those alike stand side by side, from the end where ``first`` is lower."""
    if len(values) < 2:
        return np.arange(len(values))
    leaves = leaves_list(linkage(np.nan_to_num(values), "average", optimal_ordering=True))
    rank = np.arange(len(values)) - (len(values) - 1) / 2
    return np.asarray(leaves if rank @ first[leaves] >= 0 else leaves[::-1], np.int64)


def _unseen(rows: pd.DataFrame, label: str, contexts: list[str]) -> NDArray[np.bool_]:
    """Tell in which contexts a perturbation was not in training."""
    mine = rows[(rows["label"] == label) & rows["seen"].isin([False])]
    return np.isin(contexts, mine["context"])


def _limit(values: Values) -> float:
    """Return where the colours end, on both sides of 0."""
    size = np.abs(values[np.isfinite(values)])
    return float(np.percentile(size, _SHOWN)) or 1.0 if len(size) else 1.0


def _axes(
    labels: list[str], n_contexts: int, n_genes: int, n_maps: int, figsize: tuple[float, float] | None
) -> list[Axes]:
    """Return the panels of all perturbations, wide enough for their titles."""
    words = max(max(map(len, labels)) / n_maps, len(_WORDS[0]) if n_maps > 1 else 0)
    width = 0.1 + max(_CELL[0] * n_contexts, _LETTER * words)
    size = figsize or (1.9 + width * len(labels) * n_maps, 1.3 + _CELL[1] * n_genes)
    return list(panels(1, len(labels) * n_maps, width=size[0], height=size[1], sharey=True).flat)


def _draw_map(ax: Axes, values: Values, limit: float) -> None:
    """Draw genes × contexts, white at 0, grey where there is no number."""
    ax.set_facecolor(FAINT)
    ax.spines[:].set_visible(False)
    ax.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest", aspect="auto")
    ax.tick_params(axis="both", length=0)


def _mark(ax: Axes, unseen: NDArray[np.bool_]) -> None:
    """Draw a circle above the contexts that were not in training."""
    place, above = np.flatnonzero(unseen), ax.get_xaxis_transform()
    if len(place):  # a line without points would take room
        ax.plot(place, np.ones(len(place)), transform=above, clip_on=False, gid="unseen", **_CIRCLE)


def _name_contexts(ax: Axes, contexts: list[str]) -> None:
    """Write the contexts below their columns, upright where they are long."""
    is_long = max(map(len, contexts)) > _FITS
    ax.set_xticks(range(len(contexts)), list(map(plain, contexts)), rotation=90 if is_long else 0, fontsize=_NAME)


def _draw_around(axes: list[Axes], limit: float, column: str, *, has_unseen: bool) -> None:
    """Draw one colour bar at the right, and below the maps what contexts are and what the circle says."""
    figure, image = axes[0].figure, axes[0].images[0]
    beyond = any((np.abs(np.asarray(ax.images[0].get_array())) > limit).any() for ax in axes)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=18, extend="both" if beyond else "neither", pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=_NAME, color=INK, labelcolor=INK, width=0.6, length=2)
    bar.set_label("change of log-normalised expression", fontsize=_NAME + 1, color=INK)
    axes[0].set_xlabel(plain(column), fontsize=_NAME + 1, color=INK, loc="left")
    if has_unseen:
        legend_below(axes[0], [Line2D([], [], label="not in training", **_CIRCLE)])
