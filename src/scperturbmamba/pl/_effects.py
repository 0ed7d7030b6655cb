"""The effect of a perturbation: predicted, measured, or both."""

from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scperturbmamba import _keys, metrics
from scperturbmamba._checks import check_key
from scperturbmamba.pl._style import ACCENT, FAINT, INK, MUTED, dress, legend, note, panel


def effect(
    predicted: AnnData,
    perturbation: str | None = None,
    *,
    measured: AnnData | None = None,
    n_genes: int = 20,
    ax: Axes | None = None,
) -> Axes:
    """Draw the genes that a perturbation changes most, predicted beside measured.

    Parameters
    ----------
    predicted
        A result of ``tl.predict``.
    perturbation
        Row to draw; the default is the first.
    measured
        A result of ``pp.pseudobulk``; its genes that change most are chosen, and its standard errors drawn.
    n_genes
        How many genes.
    ax
        Axes to draw into.

    Returns
    -------
    Axes
        A gene per row, strongest first; change of log-normalised expression.

    Raises
    ------
    KeyError
        The condition is in neither.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> ax = spm.pl.effect(spm.pp.pseudobulk(adata), n_genes=5)
    >>> len(ax.get_yticks())
    5
    """
    check_key(predicted, "layers", _keys.DELTA, made_by="spm.tl.predict")
    name = str(predicted.obs_names[0]) if perturbation is None else perturbation
    guess = _row(predicted, name)
    truth = _row(measured[:, predicted.var_names], name) if measured is not None else None
    top = np.argsort(-np.abs(guess if truth is None else truth), kind="stable")[:n_genes][::-1]

    ax = panel(ax, width=3.8, height=1.0 + 0.19 * len(top))
    y = np.arange(len(top))
    if truth is not None and measured is not None:
        error = _row(measured[:, predicted.var_names], name, layer=_keys.SE) if _keys.SE in measured.layers else None
        bars: dict[str, Any] = {"xerr": None if error is None else error[top], "error_kw": {"ecolor": MUTED, "lw": 1}}
        ax.barh(y, truth[top], color=FAINT, label="measured", **bars)
    ax.scatter(guess[top], y, color=ACCENT, s=18, zorder=3, label="predicted")
    ax.axvline(0, color=INK, lw=0.6)
    ax.set_yticks(y, predicted.var_names[top], fontstyle="italic")
    dress(ax, xlabel="change of log-normalised expression", title=name)
    if truth is not None:
        legend(ax, "lower right" if truth[top].max() > -truth[top].min() else "lower left")  # the side with room
    return ax


def agreement(
    predicted: AnnData, perturbation: str, *, measured: AnnData, n_labels: int = 6, ax: Axes | None = None
) -> Axes:
    """Draw predicted against measured change, a point per gene.

    Parameters
    ----------
    predicted
        A result of ``tl.predict``.
    perturbation
        Row to draw.
    measured
        A result of ``pp.pseudobulk``.
    n_labels
        How many genes to name, those that change most.
    ax
        Axes to draw into.

    Returns
    -------
    Axes
        With Pearson's correlation of the changes.

    Raises
    ------
    KeyError
        The condition is not in both.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> bulk = spm.pp.pseudobulk(adata)
    >>> spm.pl.agreement(bulk, "control", measured=bulk).get_title(loc="left")
    'control'
    """
    check_key(predicted, "layers", _keys.DELTA, made_by="spm.tl.predict")
    guess, truth = _row(predicted, perturbation), _row(measured[:, predicted.var_names], perturbation)
    ax = panel(ax, width=3.2, height=3.0)
    ax.axline((0, 0), slope=1, color=FAINT, lw=1, zorder=0)
    ax.scatter(truth, guess, s=8, color=ACCENT, alpha=0.6, linewidths=0)
    for gene in np.argsort(-np.abs(truth), kind="stable")[:n_labels]:
        side = "right" if truth[gene] > 0 else "left"
        note(ax, truth[gene], guess[gene], f" {predicted.var_names[gene]} ", ha=side, va="bottom", fontstyle="italic")
    r = float(metrics.pearson(truth, guess)[0])
    note(ax, 0.03, 0.97, f"r = {r:.2f}", transform=ax.transAxes, va="top")
    return dress(ax, xlabel="measured change", ylabel="predicted change", title=perturbation)


def _row(adata: AnnData, name: str, *, layer: str = _keys.DELTA) -> NDArray[np.float64]:
    if name not in adata.obs_names:
        msg = f"there is no row {name!r}. Found: {list(adata.obs_names[:10])}."
        raise KeyError(msg)
    return np.asarray(adata[name].layers[layer], dtype=np.float64).ravel()
