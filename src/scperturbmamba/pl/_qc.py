"""Show what quality control found: distributions with their limits, drops, knock-down."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_choice, check_key
from scperturbmamba.pl._style import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    PLAIN,
    WARN,
    despine,
    dress,
    legend,
    log_axis,
    note,
    panel,
)

_MOST_NAMES = 25
_MADE_BY = "spm.pp.qc_perturbseq"
_TITLES = {
    _keys.TOTAL_COUNTS: "UMIs per cell",
    _keys.N_GENES: "Genes per cell",
    _keys.PCT_MT: "Mitochondrial share (%)",
}


def qc(adata: AnnData, *, figsize: tuple[float, float] | None = None) -> NDArray[Any]:
    """Show distributions with the limits chosen, the cells dropped for each reason, and the knock-down.

    Parameters
    ----------
    adata
        Cells × genes after :func:`scperturbmamba.pp.qc_perturbseq`.
    figsize
        Width and height in inches.

    Returns
    -------
    Axes: one per distribution, then the waterfall and the knock-down.

    Raises
    ------
    KeyError
        ``uns["qc"]`` is missing.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=20)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.qc_perturbseq(adata)
    >>> len(spm.pl.qc(adata))
    4
    """
    check_key(adata, "uns", _keys.QC, made_by=_MADE_BY)
    record = adata.uns[_keys.QC]
    bins, params = record["distributions"], record[_keys.PARAMS]
    metrics = [name for name in _TITLES if (bins["metric"] == name).any()]
    lower = _height(len(_shown(record["conditions"])))
    figure = plt.figure(figsize=figsize or (8.2, 2.3 + lower), layout="constrained")
    halves = figure.subfigures(2, 1, height_ratios=[2.3, lower], squeeze=False)[:, 0]
    axes = [*np.ravel(halves[0].subplots(1, len(metrics))), *np.ravel(halves[1].subplots(1, 2))]
    for name, ax in zip(metrics, axes):
        _distribution(ax, bins[bins["metric"] == name], name, params)
    _waterfall(axes[-2], record["waterfall"])
    knockdown(adata, ax=axes[-1])
    return np.array(axes, dtype=object)


def knockdown(adata: AnnData, *, per: str = "condition", ax: Axes | None = None) -> Axes:
    """Show how much of its target's expression each condition, or each guide, leaves.

    Targets that control cells hardly express are grey: their ratio says nothing. Up to 25 rows are named.

    Parameters
    ----------
    adata
        Cells × genes after :func:`scperturbmamba.pp.qc_perturbseq`.
    per
        ``"condition"`` or ``"guide"``.
    ax
        Where to draw; new axes by default.

    Returns
    -------
    The axes.

    Raises
    ------
    KeyError
        ``uns["qc"]`` is missing, or holds no guides.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=20)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.qc_perturbseq(adata)
    >>> spm.pl.knockdown(adata).get_title(loc="left")
    'Knock-down'
    """
    check_key(adata, "uns", _keys.QC, made_by=_MADE_BY)
    check_choice(per, ("condition", "guide"), "per")
    record = adata.uns[_keys.QC]
    if f"{per}s" not in record:
        msg = "`adata.uns['qc']` has no 'guides'. Run `spm.pp.assign_guides` before `spm.pp.qc_perturbseq`."
        raise KeyError(msg)
    table = _shown(record[f"{per}s"])
    ax = panel(ax, width=4.2, height=_height(len(table)))
    dress(ax, xlabel="target expression left (control = 1)", title="Knock-down")
    if not len(table):
        ax.set_yticks([])
        note(ax, 0.5, 0.5, "no target is measured", color=MUTED, transform=ax.transAxes, ha="center")
        return ax
    _dots(ax, table)
    _rows(ax, table, per)
    return ax


def _distribution(ax: Axes, bins: pd.DataFrame, name: str, params: dict[str, Any]) -> None:
    despine(ax)
    edges = [*bins["left"], bins["right"].iloc[-1]]
    ax.stairs(bins["n_cells"], edges, fill=True, color=FAINT, label="all cells")
    ax.stairs(bins["n_kept"], edges, fill=True, color=ACCENT, alpha=0.85, label="kept")
    if name == _keys.TOTAL_COUNTS:
        log_axis(ax)
    limits = {_keys.N_GENES: ("min_genes", "max_genes"), _keys.PCT_MT: ("max_pct_mt",)}.get(name, ())
    for limit in limits:
        value = params[limit]
        if value is not None and edges[0] <= value <= edges[-1]:
            ax.axvline(value, color=WARN, linewidth=1.2)
            note(
                ax, value, 1.0, f"{value:.3g}", color=WARN, transform=ax.get_xaxis_transform(), ha="center", va="bottom"
            )
    dress(ax, xlabel=_TITLES[name], ylabel="cells" if name == _keys.TOTAL_COUNTS else "")
    if name == _keys.TOTAL_COUNTS:
        legend(ax, "upper left")


def _waterfall(ax: Axes, table: pd.DataFrame) -> None:
    despine(ax)
    n_before = int(table["n_left"].iloc[0] + table["n_dropped"].iloc[0])
    names = ["all cells", *table.index, "kept"]
    left = [0, *table["n_left"], 0]
    width = [n_before, *table["n_dropped"], int(table["n_left"].iloc[-1])]
    colours = [FAINT, *[WARN] * len(table), ACCENT]
    place = np.arange(len(names))[::-1]
    ax.barh(place, width, left=left, color=colours, height=0.72)
    for y, start, n in zip(place, left, width):
        inside = n > 0.5 * n_before
        x = n * 0.02 if inside else start - 0.01 * n_before
        colour = "white" if inside and y == 0 else INK if n else MUTED
        note(ax, x, y, f"{n:,}", color=colour, va="center", ha="left" if inside else "right")
    ax.set_yticks(place, names)
    ax.set_xlim(0, n_before * 1.02)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(plt.MaxNLocator(4))
    ax.xaxis.set_major_formatter(PLAIN)
    dress(ax, xlabel="cells", title="Cells left after each rule")


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a ratio, the strongest knock-down last."""
    return table[table["target_left"].notna() & (table["n_cells"] > 0)].sort_values("target_left", ascending=False)


def _height(n_rows: int) -> float:
    """Return the height of the knock-down panel in inches."""
    return max(2.6, 0.15 * n_rows + 0.8) if n_rows <= _MOST_NAMES else 3.4


def _dots(ax: Axes, table: pd.DataFrame) -> None:
    place = np.arange(len(table))
    size = 4 if len(table) <= _MOST_NAMES else 2.5
    ax.axvline(1, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    for status, colour, face in (("measured", ACCENT, ACCENT), ("not measurable", MUTED, "white")):
        mine = (table["status"] == status).to_numpy()
        rows = table[mine]
        ax.errorbar(
            rows["target_left"], place[mine], xerr=rows["target_left_se"], fmt="o", markersize=size, color=colour,
            markerfacecolor=face, markeredgecolor=colour, elinewidth=1, label=status,
        )  # fmt: skip
    if table["target_left"].max() > 4:
        ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(left=-0.03)
    if (table["status"] == "not measurable").any():
        legend(ax, "upper right")


def _rows(ax: Axes, table: pd.DataFrame, per: str) -> None:
    """Name the rows where there is room."""
    ax.set_ylim(-0.8, len(table) - 0.2)
    if len(table) > _MOST_NAMES:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(table)} {per}s", fontsize=9, color=INK)
        return
    ax.set_yticks(np.arange(len(table)), table.index)
    ax.tick_params(axis="y", length=0)
