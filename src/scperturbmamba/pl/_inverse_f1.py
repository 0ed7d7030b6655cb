"""How right the calls of inverse models are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from scperturbmamba import _keys
from scperturbmamba._checks import check_choice, check_key
from scperturbmamba.pl._names import model_name
from scperturbmamba.pl._style import ACCENT, INK, MUTED, PALETTE, dress, panel, panels


def inverse_f1(
    adata: AnnData,
    *,
    average: str = "macro",
    key: str = _keys.INVERSE_EVALUATION,
    figsize: tuple[float, float] | None = None,
) -> list[Axes]:
    """Draw the F1 of calls: of every judged model by the cells per profile, or of one training over its epochs.

    Parameters
    ----------
    adata
        A screen after ``tl.evaluate_inverse``, or after ``tl.train_inverse`` of a network (``key="inverse"``).
    average
        ``"macro"`` or ``"micro"``; a training keeps the micro F1 only.
    key
        Name of the slot.
    figsize
        Inches.

    Returns
    -------
    list of Axes
        Target genes masked and shown; or the one of the training.

    Raises
    ------
    KeyError
        Neither is there.
    ValueError
        ``average`` is unknown.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=40)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.tl.evaluate_inverse(adata, "dictionary", hold_out="batch", cells=[1, 10])
    >>> [ax.get_title(loc="left") for ax in spm.pl.inverse_f1(adata)]
    ['target genes masked', 'target genes shown']
    """
    check_key(adata, "uns", key, made_by="spm.tl.evaluate_inverse")
    check_choice(average, ("macro", "micro"), "average")
    found = adata.uns[key]
    if "summary" not in found:
        return [_draw_epochs(_history(found, key), figsize or (3.6, 2.7))]
    table = found["summary"]
    table = table[(table["metric"] == f"f1_{average}") & (table["size"] != "every")]
    masks = [one for one in ("targets", "none") if one in set(table["mask"])]
    grid = panels(
        1, len(masks), width=(figsize or (1.4 + 2.7 * len(masks), 2.9))[0], height=(figsize or (0, 2.9))[1], sharey=True
    )
    for ax, mask in zip(grid.flat, masks):
        _draw_by_cells(ax, table[table["mask"] == mask])
        dress(ax, xlabel="cells per profile", title=f"target genes {'masked' if mask == 'targets' else 'shown'}")
    grid.flat[0].set_ylabel(f"{average} F1 of calls", fontsize=9, color=INK)
    grid.flat[0].set_ylim(bottom=0)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    grid.flat[0].figure.legend(
        handles, labels, loc="outside right center", fontsize=8, labelcolor=INK, frameon=False, handlelength=1.4
    )
    return list(grid.flat)


def _draw_by_cells(ax: Axes, table: pd.DataFrame) -> None:
    table = table[table["n_conditions"] > 1]
    sizes = [str(one) for one in dict.fromkeys(table["size"])]
    averaged = table.groupby(["model", "size"], sort=False)[["value", "low", "high", "chance"]].mean().reset_index()
    models = list(dict.fromkeys(averaged["model"]))
    for number, model in enumerate(models):
        own = averaged[averaged["model"] == model].set_index("size").reindex(sizes)
        colour, place = PALETTE[number % len(PALETTE)], np.arange(len(sizes)) + 0.06 * (number - len(models) / 2)
        ls = "-" if number < len(PALETTE) else (0, (3, 1.5))
        ax.vlines(place, own["low"], own["high"], color=colour, lw=0.8, alpha=0.6)
        ax.plot(place, own["value"], color=colour, lw=1.4, ls=ls, marker="o", ms=3, label=model_name(model))
    ax.plot([-0.3, len(sizes) - 0.7], [averaged["chance"].mean()] * 2, color=MUTED, lw=0.9, ls=":", label="chance")
    ax.set_xticks(range(len(sizes)), sizes)


def _history(found: Mapping[str, Any], key: str) -> pd.DataFrame:
    if "history" not in found or "train_f1" not in found["history"]:
        msg = (
            f"`adata.uns[{key!r}]` holds neither a judgement nor the history of a network. Run "
            "`spm.tl.evaluate_inverse(adata, ...)`, or train a network."
        )
        raise KeyError(msg)
    table: pd.DataFrame = found["history"]
    return table


def _draw_epochs(history: pd.DataFrame, figsize: tuple[float, float]) -> Axes:
    ax = panel(None, width=figsize[0], height=figsize[1])
    for side, colour, name in (("train", MUTED, "training"), ("val", ACCENT, "validation")):
        if f"{side}_f1" in history:
            ax.plot(history["epoch"], history[f"{side}_f1"], color=colour, lw=1.6, marker=".", ms=3.5, label=name)
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.legend(loc="upper left", fontsize=8, labelcolor=INK, frameon=False, handlelength=1.4)
    return dress(ax, xlabel="epoch", ylabel="micro F1", title="F1 over the training")
