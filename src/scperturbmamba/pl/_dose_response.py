"""The effect of a drug over its doses: predicted as a curve with its interval, measured as points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, did_you_mean
from scperturbmamba.pl._dose_axis import dose_axis
from scperturbmamba.pl._dosed import chosen_drug, dosed, unit_of, written
from scperturbmamba.pl._measured import check_genes, context_column, contexts_of, measured_beside, predicted_rows
from scperturbmamba.pl._names import plain
from scperturbmamba.pl._style import INK, MUTED, PALETTE, dress, panel

_POINT: Final = 5.0
_WORDS: Final = {True: "training dose", False: "other dose", None: "measured"}


def dose_response(
    predicted: AnnData,
    genes: str | Sequence[str],
    *,
    measured: AnnData | None = None,
    drug: str | None = None,
    context: str | None = None,
    dose_unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how genes answer to the dose of a drug, predicted and measured.

    A curve with its interval for every gene, or, of a single gene, for every context. Doses that were in training are
    filled, others are open. The band is the interval between doses of the training; that at such a dose is another,
    most often narrower, and is a bar where a single curve is drawn.

    Parameters
    ----------
    predicted
        A result of ``tl.predict`` for a drug at several doses, such as ``[f"dasatinib@{dose}" for dose in doses]``.
    genes
        One gene or several, up to eight.
    measured
        The screen, or a result of ``pp.pseudobulk`` with the ``context=`` of the training: its mean effects against
        matched controls are drawn with their standard errors.
    drug
        Which drug, where ``predicted`` holds several: its label without the dose, such as ``"dasatinib"``, or
        ``"TP53+dasatinib"`` where it stands beside a gene.
    context
        Level to draw; the default is all. Several genes are drawn in one context.
    dose_unit
        Unit to write at the axis; the default is that of the screen given as ``measured``.
    ax
        Axes to draw into.

    Returns
    -------
    Axes
        Change of log-normalised expression over the dose, on a logarithmic axis with the control (dose 0, effect 0) at
        its left.

    Raises
    ------
    KeyError
        A gene, the drug or the context is not there.
    ValueError
        No row has a dose, there are several drugs and none is named, several genes in several contexts, or more than
        eight curves.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy_drugs(n_genes=40, n_drugs=8, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    >>> spm.pp.normalize(adata)
    >>> bulk = spm.pp.pseudobulk(adata)
    >>> ax = spm.pl.dose_response(bulk, bulk.var_names[0], drug="compound01", dose_unit="uM")
    >>> ax.get_xlabel()
    'dose of compound01 (µM)'
    """
    names, rows = as_names(genes), dosed(predicted_rows(predicted))
    check_genes(predicted, names, "predicted")
    drug = chosen_drug(rows, drug)
    rows = rows[rows["drug"] == drug].drop_duplicates(["label", "context"])
    levels = _levels(rows, context, names)
    shown = context if len(set(rows["context"])) > 1 and len(levels) == 1 else None
    rows = _with_values(rows[rows["context"].isin(levels)], predicted, names)
    points = _points(predicted, measured, names, drug, levels)

    ax = panel(ax, width=4.9, height=2.7)
    zero = dose_axis(ax, [*rows["dose"], *points["dose"]])
    ax.axhline(0, color=INK, lw=0.6, zorder=0)
    curves = [(gene, level) for gene in names for level in levels]
    for (gene, level), colour in zip(curves, PALETTE):
        _draw_curve(ax, _of(rows, gene, level), colour, dots=measured is None, bars=len(curves) == 1)
        _draw_points(ax, _of(points, gene, level), colour)
    ax.plot(zero, 0, "o", ms=_POINT, color=INK, zorder=4, gid="control")
    words = [""] if len(curves) == 1 else names if len(names) > 1 else levels
    _legend(ax, words, rows, points, are_genes=len(names) > 1)

    unit = written(unit_of(measured, drug) if dose_unit is None else dose_unit)
    column = context_column(predicted)
    ending = f", {column or ''} {shown}".replace("  ", " ") if shown else ""
    title = f"{drug if len(names) > 1 else names[0]}{ending}"
    return dress(
        ax,
        xlabel=f"dose of {plain(drug)}" + (f" ({plain(unit)})" if unit else ""),
        ylabel="change of log-normalised\nexpression",
        title=plain(title),
    )


def _levels(rows: pd.DataFrame, context: str | None, genes: list[str]) -> list[str]:
    """Return the contexts to draw; refuse what would be too much for one panel."""
    found = contexts_of(rows)
    if context is not None and context not in found:
        msg = f"`predicted` has no context {context!r} of this drug.{did_you_mean(context, found)}"
        raise KeyError(msg)
    levels = found if context is None else [context]
    if len(genes) > 1 and len(levels) > 1:
        msg = f"{len(genes)} genes are drawn in one context. Name it, such as `context={found[0]!r}`. Found: {found}."
        raise ValueError(msg)
    if not 0 < len(genes) * len(levels) <= len(PALETTE):
        what = f"{len(genes)} genes in {len(levels)} contexts"
        msg = f"a panel holds 1 to {len(PALETTE)} curves; found {what}. Name fewer."
        raise ValueError(msg)
    return levels


def _with_values(rows: pd.DataFrame, predicted: AnnData, genes: list[str]) -> pd.DataFrame:
    """Return a row per gene and row of the prediction: ``effect``, ``low``, ``high``."""
    columns = predicted.var_names.get_indexer(genes)
    layers = {"effect": _keys.DELTA, "low": "lower", "high": "upper"}
    values = {
        name: np.asarray(predicted.layers[layer], np.float64)[np.ix_(rows.index, columns)].ravel()
        for name, layer in layers.items()
        if layer in predicted.layers
    }
    return _per_gene(rows, genes).assign(**values)


def _points(
    predicted: AnnData, measured: AnnData | None, genes: list[str], drug: str, levels: list[str]
) -> pd.DataFrame:
    """Return a row per gene and measured dose: ``effect`` and ``error``."""
    if measured is None:
        return pd.DataFrame(columns=["gene", "context", "dose", "seen", "effect", "error"])
    mine = dosed(pd.DataFrame({"label": measured.obs[_keys.PERTURBATION].dropna().astype(str).unique()}))
    found = measured_beside(predicted, measured, genes=genes, labels=set(mine.loc[mine["drug"] == drug, "label"]))
    rows = dosed(found.rows)
    rows = rows[rows["context"].isin(levels)]
    return _per_gene(rows, genes).assign(effect=found.delta[rows.index].ravel(), error=found.se[rows.index].ravel())


def _per_gene(rows: pd.DataFrame, genes: list[str]) -> pd.DataFrame:
    return rows.loc[rows.index.repeat(len(genes))].assign(gene=genes * len(rows))


def _of(table: pd.DataFrame, gene: str, level: str) -> pd.DataFrame:
    return table[(table["gene"] == gene) & (table["context"] == level)]


def _draw_curve(ax: Axes, curve: pd.DataFrame, colour: str, *, dots: bool, bars: bool) -> None:
    ax.plot(curve["dose"], curve["effect"], color=colour, lw=1.6, zorder=2, gid="predicted")
    is_seen = curve["seen"].isin([True])
    seen, rest = curve[is_seen], curve[~is_seen] if (~is_seen).sum() > 1 else curve
    if "low" in curve:
        ax.fill_between(rest["dose"], rest["low"], rest["high"], color=colour, alpha=0.13, lw=0, zorder=1)
        if bars and len(rest) < len(curve):
            ax.vlines(seen["dose"], seen["low"], seen["high"], color=colour, alpha=0.3, lw=3, zorder=1)
    if dots:
        ax.plot(seen["dose"], seen["effect"], "o", ms=_POINT, color=colour, zorder=3, gid="training")


def _draw_points(ax: Axes, points: pd.DataFrame, colour: str) -> None:
    for point in points.itertuples():
        face = "white" if point.seen is False else colour
        ax.errorbar(
            point.dose, point.effect, point.error, fmt="o", ms=_POINT, color=colour, mfc=face, mec=colour, mew=1.2,
            elinewidth=1, zorder=4, gid="measured",
        )  # fmt: skip


def _legend(ax: Axes, words: list[str], rows: pd.DataFrame, points: pd.DataFrame, *, are_genes: bool) -> None:
    """Name the curves and the marks at the right of the panel."""
    ink = PALETTE[0] if words == [""] else MUTED
    entries: list[Artist] = [
        Line2D([], [], color=colour, lw=1.6, label=plain(word) or "predicted") for word, colour in zip(words, PALETTE)
    ]
    if "low" in rows:
        entries.append(Patch(color=ink, alpha=0.3, lw=0, label="prediction interval"))
    marks = points["seen"] if len(points) else rows.loc[rows["seen"].isin([True]), "seen"]
    start = "measured, " if len(points) else ""
    for seen, word in _WORDS.items():
        if any(one is seen for one in marks):
            face = "white" if seen is False else ink
            label = word if seen is None else start + word
            entries.append(Line2D([], [], ls="", marker="o", ms=_POINT, color=ink, mfc=face, mew=1.2, label=label))
    legend = ax.legend(
        handles=entries, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, labelcolor=INK, frameon=False,
        handlelength=1.4, borderaxespad=0.2,
    )  # fmt: skip
    for text in legend.get_texts()[: len(words) * are_genes]:
        text.set_fontstyle("italic")
