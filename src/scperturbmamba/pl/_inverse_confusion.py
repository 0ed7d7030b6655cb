"""What held-out conditions were answered by."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from scperturbmamba import _keys
from scperturbmamba._checks import check_choice, check_key
from scperturbmamba.pl._names import model_name, plain
from scperturbmamba.pl._style import ACCENT, FAINT, INK, dress, note, panel

_MANY = 40  # conditions above which names are smaller
_SHARE: Final = LinearSegmentedColormap.from_list("share", ["#ffffff", ACCENT])


def inverse_confusion(
    adata: AnnData,
    model: str | None = None,
    *,
    cells: str | int = "all",
    mask: str | None = "targets",
    key: str = _keys.INVERSE_EVALUATION,
    ax: Axes | None = None,
) -> Axes:
    """Draw what each held-out condition was answered by, as shares of its profiles.

    Parameters
    ----------
    adata
        A screen after ``tl.evaluate_inverse``.
    model
        Name of a model; the default is the first that was judged.
    cells
        Number of cells per profile.
    mask
        ``"targets"``, or None for the numbers with the perturbed genes shown.
    key
        Name of the slot.
    ax
        Axes to draw into.

    Returns
    -------
    Axes
        Conditions × answers, ordered so that what is confused stands together.

    Raises
    ------
    KeyError
        Nothing was judged.
    ValueError
        The model, the number of cells or the mask was not judged.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=40)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.tl.evaluate_inverse(adata, "dictionary", hold_out="batch", masks=["targets"], cells=[10])
    >>> ax = spm.pl.inverse_confusion(adata, cells=10)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('answered', 'perturbed')
    """
    check_key(adata, "uns", key, made_by="spm.tl.evaluate_inverse")
    table: pd.DataFrame = adata.uns[key]["answers"]
    wanted = {"mask": mask or "none", "size": str(cells), "model": model or str(table["model"].iloc[0])}
    for column, one in wanted.items():
        check_choice(one, sorted(table[column].astype(str).unique()), {"size": "cells"}.get(column, column))
        table = table[table[column].astype(str) == one]
    counts = table.pivot_table(index="condition", columns="inferred", values="n_units", aggfunc="sum", fill_value=0)
    shares = counts.div(counts.sum(axis=1), axis=0)
    shares = _ordered(shares)
    n_rows, n_columns = shares.shape
    side = 0.13 if max(n_rows, n_columns) > _MANY else 0.19
    ax = panel(ax, width=1.6 + side * n_columns, height=1.2 + side * n_rows)
    image = ax.pcolormesh(shares.to_numpy(), cmap=_SHARE, vmin=0, vmax=1, edgecolors=FAINT, linewidth=0.3)
    size = 5 if max(n_rows, n_columns) > _MANY else 7
    ax.set_xticks(np.arange(n_columns) + 0.5, map(plain, shares.columns), rotation=90, fontsize=size)
    ax.set_yticks(np.arange(n_rows) + 0.5, map(plain, shares.index), fontsize=size)
    ax.tick_params(length=0)
    ax.invert_yaxis()
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.03, pad=0.02, shrink=0.6, aspect=15)
    bar.set_label("share of profiles", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)
    said = f"{cells} cells, targets {'masked' if mask else 'shown'}"
    note(ax, 0, 1.01, said, transform=ax.transAxes, va="bottom")
    return dress(ax, xlabel="answered", ylabel="perturbed", title=f"{model_name(wanted['model'])}\n")


def _ordered(shares: pd.DataFrame) -> pd.DataFrame:
    """Put the control first, conditions that were found next, and those that were answered otherwise last."""
    own = pd.Series({name: shares.loc[name].get(name, 0.0) for name in shares.index})
    rows = sorted(shares.index, key=lambda name: (name != _keys.CONTROL, -own[name], name))
    columns = [name for name in rows if name in shares.columns]
    return shares.loc[rows, [*columns, *(name for name in shares.columns if name not in columns)]]
