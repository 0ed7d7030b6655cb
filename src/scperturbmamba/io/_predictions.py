"""Predictions of other tools, in the form of ours."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import (
    check_choice,
    check_finite,
    check_in_memory,
    check_key,
    check_log_normalised,
    check_unique_genes,
)
from scperturbmamba.data.profiles import NO_CONTEXT
from scperturbmamba.io._sides import cells_on_side, split_column
from scperturbmamba.io._sources import read_source

_EXPRESSION, _EFFECT = "expression", "effect"


def read_predictions(
    adata: AnnData,
    source: AnnData | str | Path | Mapping[str, ArrayLike | pd.Series],
    *,
    kind: Literal["expression", "effect"] = "expression",
    column: str = _keys.PERTURBATION,
    key: str | None = None,
) -> AnnData:
    """Read what another tool predicted, in the form that ``tl.evaluate`` and ``pl.effect`` take.

    Labels may be spelled in any dialect: ``"CBL_CNN1"``, ``"FEV+ctrl"``, ``"non-targeting"``.

    Parameters
    ----------
    adata
        The screen, with labels and log-normalised ``X``.
    source
        An AnnData of profiles or cells, averaged per condition; an ``.h5ad`` of one; or label → vector, such as
        ``GEARS.predict`` returns: an array over ``adata.var_names``, or a Series indexed by gene.
    kind
        What the numbers are: ``"expression"`` on the scale of ``adata.X``, or ``"effect"``, change against the control.
    column
        Column of ``source.obs`` with the labels.
    key
        Column of the split. Effects are taken against control cells of the training side. The default is ``"split"``;
        without a split all control cells are used.

    Returns
    -------
    AnnData of conditions × genes
        ``X``
            Predicted expression: as it was given, or control plus effect, not negative.
        ``layers["delta"]``, ``layers["control"]``
            Predicted effect, and the mean of the control cells.
        ``obs``
            ``perturbation``, ``context`` (``"all"``).

        The genes are those that both have, in the order of ``adata``; a warning counts the others.

    Raises
    ------
    KeyError
        A slot or a column is missing.
    ValueError
        No gene is in both, a vector is of another length, a label is unknown or occurs twice, numbers are not finite,
        ``source`` holds raw counts, or there are no control cells.
    TypeError
        ``source`` is something else.
    FileNotFoundError
        There is no such file.

    Examples
    --------
    >>> import numpy as np, scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> theirs = {"JAK2+ctrl": np.zeros(40), "STAT3_IRF7": np.zeros(40)}
    >>> list(spm.io.read_predictions(adata, theirs, kind="effect").obs_names)
    ['JAK2', 'IRF7+STAT3']
    """
    check_in_memory(adata, function="spm.io.read_predictions")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    check_unique_genes(adata)
    check_log_normalised(adata)
    check_choice(kind, (_EXPRESSION, _EFFECT), "kind")
    split = split_column(adata, key)

    given = read_source(source, adata, column, may_be_whole=kind == _EFFECT)
    genes = _shared_genes(given.columns, adata.var_names)
    values = given[genes].to_numpy(np.float32)
    check_finite(values, what="the predictions")
    control = np.tile(_control_mean(adata, genes, split), (len(given), 1))
    _warn_of_other_kind(values, control, kind)

    delta, x = (values, np.maximum(control + values, 0)) if kind == _EFFECT else (values - control, values)
    contexts = pd.Categorical([NO_CONTEXT] * len(given))
    obs = pd.DataFrame({_keys.PERTURBATION: pd.Categorical(given.index), "context": contexts}, index=given.index)
    layers = {_keys.DELTA: delta, _keys.CONTROL_LAYER: control}
    uns = {_keys.PREDICTOR: {_keys.PARAMS: {"split": split or _keys.SPLIT, "context": None}}}
    return AnnData(x, obs=obs, var=pd.DataFrame(index=genes), layers=layers, uns=uns)


def _shared_genes(given: pd.Index, own: pd.Index) -> pd.Index:
    """Return the genes of the screen that were predicted, in its order, and count those that fall out."""
    genes = own[own.isin(given)]
    if not len(genes):
        msg = (
            f"expected predictions for genes of `adata`, such as {list(own[:3])}; found other names only, such as "
            f"{list(given[:3])}. Bring both to the same gene names."
        )
        raise ValueError(msg)
    left_out = len(own) - len(genes), len(given) - len(genes)
    if any(left_out):
        text = (
            f"{len(genes)} genes are kept; {left_out[0]} of the {len(own)} in `adata` were not predicted, and "
            f"{left_out[1]} were predicted that `adata` lacks."
        )
        warnings.warn(text, UserWarning, stacklevel=3)
    return genes


def _control_mean(adata: AnnData, genes: pd.Index, split: str | None) -> NDArray[np.float32]:
    is_control = np.asarray(adata.obs[_keys.PERTURBATION] == _keys.CONTROL)
    cells = np.flatnonzero(is_control & cells_on_side(adata, split, _keys.TRAIN))
    if not len(cells):
        where = f" on the side {_keys.TRAIN!r} of `obs[{split!r}]`" if split else ""
        msg = (
            f"expected control cells{where}; found none. Name their label: "
            '`spm.pp.perturbation_labels(adata, column, control="...")`, and split again.'
        )
        raise ValueError(msg)
    mean = adata[cells, genes].X.mean(axis=0, dtype=np.float64)
    return np.asarray(mean, dtype=np.float32).ravel()


def _warn_of_other_kind(values: NDArray[np.float32], control: NDArray[np.float32], kind: str) -> None:
    """Warn where expression lies nearer to 0 than to the control, or effects nearer to the control than to 0."""
    to_zero, to_control = float(np.abs(values).sum()), float(np.abs(values - control).sum())
    other = {_EXPRESSION: _EFFECT, _EFFECT: _EXPRESSION}[kind]
    looks_other = to_control > to_zero if kind == _EXPRESSION else to_zero > to_control
    if looks_other:
        text = (
            f"the predictions look like {other}: they lie nearer to {'0' if other == _EFFECT else 'the control'} than "
            f"to {'the control' if other == _EFFECT else '0'}. If so, pass `kind={other!r}`."
        )
        warnings.warn(text, UserWarning, stacklevel=3)
