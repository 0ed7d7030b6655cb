"""Effects as a tidy table, in our column names or those of scanpy and pdex."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_choice, check_key
from scperturbmamba.get._differential import DIALECTS, differential_table


def effects(
    adata: AnnData,
    perturbations: str | Sequence[str] | None = None,
    *,
    layer: str = _keys.DELTA,
    names: str = "spm",
) -> pd.DataFrame:
    """Return predicted or measured effects as a table, strongest first within a condition.

    Parameters
    ----------
    adata
        A result of ``tl.predict`` or ``pp.pseudobulk``.
    perturbations
        Conditions to keep; the default is all.
    layer
        Layer with the effects, natural log units.
    names
        Whose column names: ``"spm"``, ``"scanpy"`` (``rank_genes_groups_df``) or ``"pdex"`` (cell-eval reads those).

    Returns
    -------
    DataFrame
        ``perturbation``, ``gene``, ``delta``. For scanpy ``group``, ``names``, ``scores``, ``logfoldchanges``,
        ``pvals``, ``pvals_adj``; for pdex ``target``, ``feature``, ``log2_fold_change``, ``p_value``, ``fdr``; both
        without genes whose effect is NaN, and without the control unless it is asked for.

    Raises
    ------
    KeyError
        The layer, or a condition asked for, is not there.
    ValueError
        ``names`` is none of the three.

    Notes
    -----
    The log2 fold change is delta / ln 2: the difference of the means of log(1 + x), near the log ratio of the means
    where a gene is well expressed, and nearer to zero where it is not. The score is delta over its standard error
    (``layers["se"]``, or else ``layers["sd"]``), the p-value that of a two-sided normal test, its adjustment
    Benjamini and Hochberg's within a condition; NaN where there is no error, as in predictions of one profile.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> bulk = spm.pp.pseudobulk(adata)
    >>> table = spm.get.effects(bulk, "control")
    >>> list(table.columns), len(table)
    (['perturbation', 'gene', 'delta'], 40)
    >>> list(spm.get.effects(bulk, names="pdex"))
    ['target', 'feature', 'log2_fold_change', 'p_value', 'fdr']
    """
    check_choice(names, ["spm", *DIALECTS], "names")
    check_key(adata, "layers", layer, made_by="spm.tl.predict")
    asked = adata.obs_names if perturbations is None else pd.Index(as_names(perturbations))
    if perturbations is None and names != "spm" and _keys.PERTURBATION in adata.obs:
        asked = asked[adata.obs[_keys.PERTURBATION] != _keys.CONTROL]
    rows = adata.obs_names.get_indexer(asked)
    if (rows < 0).any():
        missing = list(asked[rows < 0][:3])
        msg = f"`adata.obs_names` has no {missing}. Found: {list(adata.obs_names[:10])}."
        raise KeyError(msg)
    values = np.asarray(adata.layers[layer])[rows]
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    table = pd.DataFrame(
        {
            "perturbation": np.repeat(np.asarray(asked), adata.n_vars),
            "gene": np.asarray(adata.var_names)[order].ravel(),
            "delta": np.take_along_axis(values, order, axis=1).ravel(),
        }
    )
    if names == "spm":
        return table
    errors = [one for one in (_keys.SE, _keys.SD) if layer == _keys.DELTA and one in adata.layers]
    error = np.take_along_axis(np.asarray(adata.layers[errors[0]])[rows], order, axis=1).ravel() if errors else None
    return differential_table(table, error, dialect=names)
