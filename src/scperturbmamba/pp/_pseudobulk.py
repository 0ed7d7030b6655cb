"""One row per condition: mean, effect, error."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_in_memory, check_key, check_log_normalised
from scperturbmamba.data.control_groups import control_groups, warn_of_unmatched
from scperturbmamba.data.counts import find_counts
from scperturbmamba.data.profiles import effect_profiles, group_rows
from scperturbmamba.data.statistics import group_sums


def pseudobulk(adata: AnnData, *, context: str | None = None) -> AnnData:
    """Average the cells of each condition, beside the effect against the matched control and its error.

    After :func:`match_controls` a cell is compared with the control cells of its own group.

    Parameters
    ----------
    adata
        Cells × genes, log-normalised ``X``, with canonical labels.
    context
        Column of ``obs`` (cell line, batch): one row per condition and level, each against the control cells of
        that level.

    Returns
    -------
    AnnData of profiles × genes
        ``X`` (mean over cells, scale of ``adata.X``), ``layers["delta"]`` (minus the control mean),
        ``layers["se"]`` (standard error of delta, control noise included), ``layers["counts"]`` (summed raw counts,
        where ``adata`` has them), ``obs``: ``perturbation``, ``is_control``, ``n_cells``, and the context column.

    Raises
    ------
    KeyError
        Labels or the context column are not there.
    ValueError
        There are no control cells to compare with, or ``X`` holds raw counts or NaN.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.pseudobulk(adata).shape
    (10, 40)
    """
    check_in_memory(adata, function="spm.pp.pseudobulk")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    check_log_normalised(adata)

    rows, group = group_rows(adata, context=context)
    profiles = effect_profiles(adata.X, rows, group, control_groups(adata))
    warn_of_unmatched(profiles.n_unmatched, "of the profiles")

    layers = {_keys.DELTA: profiles.delta, _keys.SE: profiles.se}
    if _keys.COUNTS in adata.layers:
        layers[_keys.COUNTS] = group_sums(find_counts(adata).matrix, group, len(rows)).astype(np.float32)
    obs = pd.DataFrame({_keys.PERTURBATION: pd.Categorical(rows["label"])}, index=rows.index)
    obs[_keys.IS_CONTROL] = (rows["label"] == _keys.CONTROL).to_numpy()
    obs[_keys.N_CELLS] = profiles.n_cells
    if context is not None:
        obs[context] = pd.Categorical(rows["context"])
    return AnnData(profiles.mean, obs=obs, var=adata.var.copy(), layers=layers)
