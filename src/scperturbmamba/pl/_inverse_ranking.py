"""The likeliest perturbations of groups of cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_choice, check_key, check_whole
from scperturbmamba.pl._names import plain
from scperturbmamba.pl._style import ACCENT, INK, MUTED, dress, note, panels

_IN_A_ROW = 3


def inverse_ranking(
    adata: AnnData,
    groups: str | Sequence[str] | None = None,
    *,
    n_top: int = 8,
    key: str = _keys.INFERRED_SCORES,
    figsize: tuple[float, float] | None = None,
) -> list[Axes]:
    """Draw the likeliest perturbations of groups of cells, with their probabilities, and the answer.

    The control, and candidates whose effect did not repeat in training, are grey: together they are one answer.

    Parameters
    ----------
    adata
        Cells after ``tl.rank_perturbations(groupby=...)``.
    groups
        Groups to draw; the default is the first six.
    n_top
        Answers per group.
    key
        Name of the slot.
    figsize
        Inches.

    Returns
    -------
    list of Axes
        One per group.

    Raises
    ------
    KeyError
        Nothing was ranked by groups.
    ValueError
        A group is unknown.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=30)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.tl.train_inverse(adata, key=None)
    >>> spm.tl.rank_perturbations(adata, groupby="perturbation")
    >>> [ax.get_title(loc="left") for ax in spm.pl.inverse_ranking(adata, ["IRF5", "IRF6"])]
    ['IRF5', 'IRF6']
    """
    check_key(adata, "uns", key, made_by="spm.tl.rank_perturbations")
    check_whole(n_top, "n_top")
    if "ranking" not in adata.uns[key]:
        msg = f"`adata.uns[{key!r}]` has no ranking of groups. Run `spm.tl.rank_perturbations(adata, groupby=...)`."
        raise KeyError(msg)
    table: pd.DataFrame = adata.uns[key]["ranking"]
    known = list(dict.fromkeys(table["group"].astype(str)))
    chosen = known[:6] if groups is None else as_names(groups)
    for one in chosen:
        check_choice(one, known, "groups")
    n_columns = min(_IN_A_ROW, len(chosen))
    n_rows = -(-len(chosen) // n_columns)
    width, height = figsize or (2.4 * n_columns, n_rows * (0.75 + 0.17 * n_top))
    grid = panels(n_rows, n_columns, width=width, height=height, sharex=True)
    for ax in grid.flat[len(chosen) :]:
        ax.set_axis_off()
    axes = list(grid.flat[: len(chosen)])
    answers = adata.uns[key]["groups"]
    for ax, one in zip(axes, chosen):
        _draw_ranking(ax, table[table["group"].astype(str) == one].head(n_top), one, answers.loc[one])
    for ax in axes[-n_columns:]:
        ax.set_xlabel("probability", fontsize=9, color=INK)
        ax.tick_params(labelbottom=True)
    return axes


def _draw_ranking(ax: Axes, table: pd.DataFrame, group: str, answer: pd.Series) -> None:
    colours = [ACCENT if told else MUTED for told in table["detectable"]]
    place = np.arange(len(table))
    ax.barh(place, table["probability"], color=colours, height=0.7)
    for row, probability in enumerate(table["probability"]):
        note(ax, probability + 0.02, row, f"{probability:.2f}", va="center")
    ax.set_yticks(place, [plain(str(one)) for one in table["perturbation"]])
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(0, 1.18)
    ax.set_xticks([0, 0.5, 1])
    ax.set_ylim(len(table) - 0.4, -0.6)
    said = f"answer: {plain(str(answer['inferred']))}, {answer['probability']:.2f}"
    note(ax, 0.99, 0.03, said, color=MUTED, transform=ax.transAxes, ha="right")
    dress(ax, title=plain(group))
