"""Are predicted intervals as wide as they must be."""

from __future__ import annotations

from anndata import AnnData
from matplotlib.axes import Axes

from scperturbmamba import _keys
from scperturbmamba._checks import check_key
from scperturbmamba.pl._style import ACCENT, MUTED, dress, note, panel


def reliability(predicted: AnnData, *, key: str = _keys.EVALUATION, ax: Axes | None = None) -> Axes:
    """Draw how many held-out measurements lie in the predicted intervals, level by level.

    On the diagonal intervals hold as many as they promise; below it they are too narrow, above it too wide.

    Parameters
    ----------
    predicted
        Predictions that :func:`scperturbmamba.tl.evaluate` has judged.
    key
        Name of the slot.
    ax
        Where to draw; the default is a new figure.

    Returns
    -------
    Axes
        The bars are 95 % intervals over conditions.

    Raises
    ------
    KeyError
        The predictions were not judged, or carry no intervals.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=20, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.train_predictor(adata, preset="fast")
    >>> predicted = spm.tl.predict(adata, sorted(adata.obs.query("split == 'test'")["perturbation"].unique())[:3])
    >>> spm.tl.evaluate(predicted, adata)
    >>> spm.pl.reliability(predicted).get_xlabel()
    'promised share'
    """
    check_key(predicted, "uns", key, made_by="spm.tl.evaluate")
    table = predicted.uns[key].get("coverage")
    if table is None:
        msg = (
            f"`predicted.uns[{key!r}]` has no 'coverage': the predictions carry no intervals. Train with a core and "
            "enough perturbations, or with validation conditions, and predict again."
        )
        raise KeyError(msg)
    ax = panel(ax, width=3, height=2.9)
    ax.axline((0, 0), slope=1, color=MUTED, lw=0.8, zorder=0)
    spread = [table["observed"] - table["low"], table["high"] - table["observed"]]
    ax.errorbar(table["nominal"], table["observed"], yerr=spread, fmt="-o", color=ACCENT, ms=4, lw=1.2, elinewidth=1)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    note(ax, 0.04, 0.96, f"{table['n'].iloc[0]} conditions", transform=ax.transAxes, va="top")
    return dress(ax, xlabel="promised share", ylabel="measurements inside", title="intervals")
