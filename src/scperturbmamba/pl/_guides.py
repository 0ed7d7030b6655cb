"""Show guide counts with their thresholds, and how many guides cells carry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_key
from scperturbmamba.pl._style import ACCENT, FAINT, MUTED, WARN, dress, legend, log_axis, note, panels


def guides(adata: AnnData, *, figsize: tuple[float, float] | None = None) -> NDArray[Any]:
    """Show guide counts with the thresholds chosen, and how many guides the cells carry.

    Parameters
    ----------
    adata
        Cells × genes after :func:`scperturbmamba.pp.assign_guides`.
    figsize
        Width and height in inches.

    Returns
    -------
    Two axes.

    Raises
    ------
    KeyError
        ``uns["guides"]`` is missing.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=20)
    >>> spm.pp.assign_guides(adata, r"^(.+)_g[0-9]+$")
    >>> len(spm.pl.guides(adata))
    2
    """
    made_by = "spm.pp.assign_guides"
    check_key(adata, "uns", _keys.GUIDES, made_by=made_by)
    for slot in (_keys.GUIDE_IDENTITY, _keys.N_GUIDES):
        check_key(adata, "obs", slot, made_by=made_by)
    width, height = figsize or (7.6, 2.7)
    axes = panels(1, 2, width=width, height=height, width_ratios=[1.25, 1])[0]
    record = adata.uns[_keys.GUIDES]
    _counts(axes[0], record["histogram"], record["table"]["threshold"])
    _shares(axes[1], adata, record["combinations"])
    return axes


def _counts(ax: Axes, histogram: pd.DataFrame, thresholds: pd.Series) -> None:
    """Draw the number of counts of each size, on log scales, called and not."""
    top = int(histogram["umi"].max())
    edges = np.unique(np.round(np.geomspace(1, top + 1, 40)).astype(int)) - 0.5
    total = np.histogram(histogram["umi"], edges, weights=histogram["n"])[0]
    called = np.histogram(histogram["umi"], edges, weights=histogram["n_called"])[0]
    ax.stairs(total, edges, fill=True, color=FAINT, label="ambient or undecided")
    ax.stairs(called, edges, fill=True, color=ACCENT, alpha=0.85, label="called")
    ax.set_ylim(0.8, 3 * total.max())
    log_axis(log_axis(ax, "x"), "y")
    low, middle, high = thresholds.quantile([0, 0.5, 1])
    ax.axvspan(low - 0.5, high - 0.5, color=WARN, alpha=0.15, linewidth=0)
    ax.axvline(middle - 0.5, color=WARN, linewidth=1.2)
    words = f"threshold {middle:g}" + (f" ({low:g}–{high:g})" if high > low else "")
    note(ax, middle - 0.5, 1.0, words, color=WARN, transform=ax.get_xaxis_transform(), ha="left", va="bottom")
    dress(ax, xlabel="UMIs of a guide in a cell", ylabel="guide–cell pairs")
    legend(ax, "upper right")


def _shares(ax: Axes, adata: AnnData, combinations: pd.DataFrame) -> None:
    identity = adata.obs[_keys.GUIDE_IDENTITY].astype(object)
    n_guides = adata.obs[_keys.N_GUIDES].to_numpy()
    n_targets = identity.map(combinations["n_targets"]).to_numpy(dtype=float)
    named = identity.notna().to_numpy()
    kinds = {
        "no guide": (n_guides == 0, MUTED),
        "undecided": (~named & (n_guides > 0), MUTED),
        "one guide": (named & (n_guides == 1), ACCENT),
        "several guides,\none target": (named & (n_guides > 1) & (n_targets == 1), ACCENT),
        "several targets": (named & (n_targets > 1), WARN),
    }
    place = np.arange(len(kinds))[::-1]
    shares = [100 * float(mask.mean()) for mask, _ in kinds.values()]
    ax.barh(place, shares, color=[colour for _, colour in kinds.values()], height=0.72)
    for y, share in zip(place, shares):
        note(ax, share + 1, y, f"{share:.1f}", va="center")
    ax.set_yticks(place, list(kinds))
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, max(shares) * 1.15)
    dress(ax, xlabel="cells (%)")
