"""Choose genes, from training cells only."""

from __future__ import annotations

from typing import Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_in_memory, check_key, check_log_normalised, check_positive, check_unique_genes
from scperturbmamba.data.conditions import Condition, part_names
from scperturbmamba.data.views import own


def select_genes(adata: AnnData, *, n_top_genes: int = 2000, keep_targets: bool = True, key: str = _keys.SPLIT) -> None:
    """Mark the genes to model: the most variable among training cells, and the perturbed ones.

    Optional: without it every gene is modelled.

    Parameters
    ----------
    adata
        Cells × genes, log-normalised ``X``, with a split.
    n_top_genes
        How many highly variable genes.
    keep_targets
        Also keep every perturbed gene that is measured.
    key
        Column of ``obs`` with the split.

    Returns
    -------
    None
        Writes ``var["highly_variable"]``, ``var["is_target"]`` and ``var["selected"]`` (boolean).

    Raises
    ------
    KeyError
        Labels or split are not there.
    ValueError
        ``n_top_genes`` is not above zero, a gene name occurs twice, or ``X`` holds raw counts or NaN.

    References
    ----------
    Satija et al. (2015), Nature Biotechnology; as in :func:`scanpy.pp.highly_variable_genes`.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=60, n_singles=10, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.pp.select_genes(adata, n_top_genes=20, keep_targets=False)
    >>> bool(20 <= adata.var["selected"].sum() < 25)
    True
    """
    check_in_memory(adata, function="spm.pp.select_genes")
    check_unique_genes(adata)
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    check_key(adata, "obs", key, made_by="spm.pp.split_conditions")
    check_positive(n_top_genes, "n_top_genes")
    check_log_normalised(adata)
    training = adata[(adata.obs[key] == _keys.TRAIN).to_numpy()]

    variable = variable_genes(training.X, min(n_top_genes, adata.n_vars))
    labels = adata.obs[_keys.PERTURBATION].astype("category").cat.categories
    is_target = np.asarray(adata.var_names.isin(part_names(Condition.parse(str(label)) for label in labels)))

    own(adata)
    adata.var[_keys.HIGHLY_VARIABLE] = variable
    adata.var[_keys.IS_TARGET] = is_target
    adata.var[_keys.SELECTED] = variable | is_target if keep_targets else variable


def variable_genes(matrix: Any, n_top_genes: int) -> NDArray[np.bool_]:
    """Return (genes,): the most variable of log-normalised cells × genes, sparse or dense."""
    table = sc.pp.highly_variable_genes(AnnData(matrix), n_top_genes=n_top_genes, inplace=False)
    return table["highly_variable"].to_numpy(dtype=bool)
