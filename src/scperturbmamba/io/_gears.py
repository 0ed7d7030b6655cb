"""A screen as GEARS reads it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_column, check_in_memory, check_key, check_log_normalised, check_unique_genes
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.words import words_of

_CONTROL = "ctrl"
_CELL_TYPE, _GENE_NAME = "cell_type", "gene_name"
_ONE_TYPE = "all"


def to_gears(adata: AnnData, *, context: str | None = None) -> AnnData:
    """Write a screen in the form that ``gears.PertData.new_data_process`` takes.

    Parameters
    ----------
    adata
        Cells × genes, log-normalised ``X``, with canonical labels; cells without a label are left out.
    context
        Column of ``obs`` with the cell type; the default is ``cell_type`` where there is one, else all cells are one.

    Returns
    -------
    AnnData of cells × genes
        ``X``
            Log-normalised expression, CSR.
        ``obs``
            ``condition`` (``"ctrl"``, ``"A+ctrl"``, ``"A+B"``), ``cell_type``, ``dose_val`` (``"1+1"``, ``"1"`` for the
            control), ``control`` (1 for the control, else 0), ``condition_name`` (``"K562_A+ctrl_1+1"``), and ``split``
            where ``adata`` has one.
        ``var["gene_name"]``
            That of ``adata``, or its gene names.

    Raises
    ------
    KeyError
        The labels or the column are not there.
    ValueError
        A condition has three parts or more, a dose, a drug, or a name that GEARS cannot read; a cell type has no
        control cells; ``X`` holds raw counts or NaN.

    References
    ----------
    Roohani et al. (2024), Nature Biotechnology.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> gears = spm.io.to_gears(adata, context="cell_line")
    >>> sorted(gears.obs["condition"].unique())[-3:]
    ['JAK2+ctrl', 'STAT3+ctrl', 'ctrl']
    """
    check_in_memory(adata, function="spm.io.to_gears")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    check_unique_genes(adata)
    check_log_normalised(adata)
    labelled = np.asarray(adata.obs[_keys.PERTURBATION].notna())
    labels = adata.obs.loc[labelled, _keys.PERTURBATION].astype(str)
    cell_types = _cell_types(adata, context)[labelled]

    spelled = _spelled(adata, list(labels.unique()))
    obs = _obs(labels.map(spelled), cell_types)
    _check_groups(obs)

    if _keys.SPLIT in adata.obs:
        obs[_keys.SPLIT] = adata.obs[_keys.SPLIT][labelled]
    names = adata.var[_GENE_NAME] if _GENE_NAME in adata.var else adata.var_names
    var = pd.DataFrame({_GENE_NAME: np.asarray(names, dtype=object)}, index=adata.var_names)
    return AnnData(sp.csr_matrix(adata.X, dtype=np.float32)[np.flatnonzero(labelled)], obs=obs, var=var)


def _cell_types(adata: AnnData, context: str | None) -> pd.Series:
    if context is None and _CELL_TYPE not in adata.obs:
        return pd.Series(_ONE_TYPE, index=adata.obs_names)
    column = context or _CELL_TYPE
    check_column(adata, column, argument="context")
    missing = int(adata.obs[column].isna().sum())
    if missing:
        msg = f"`obs[{column!r}]` must name the cell type of every cell; {missing} have none. Leave them out."
        raise ValueError(msg)
    return words_of(adata.obs[column])


def _spelled(adata: AnnData, labels: Sequence[str]) -> dict[str, str]:
    """Return GEARS' spelling of every label, or refuse those for which it has none."""
    drugs = _drugs(adata)
    reasons = {label: _why_not(Condition.parse(label), label in drugs) for label in labels}
    refused = {label: reason for label, reason in reasons.items() if reason}
    if refused:
        some = "; ".join(f"{label!r} {reason}" for label, reason in sorted(refused.items())[:5])
        msg = (
            f"GEARS reads genes, alone or in pairs; {len(refused)} conditions are something else: {some}. "
            'Leave them out: `adata[~adata.obs["perturbation"].isin([...])]`.'
        )
        raise ValueError(msg)
    return {label: _spell(Condition.parse(label)) for label in labels}


def _drugs(adata: AnnData) -> set[str]:
    if _keys.PERTURBATION_TYPE not in adata.obs:
        return set()
    is_drug = words_of(adata.obs[_keys.PERTURBATION_TYPE]).str.split("+").map(lambda kinds: "drug" in kinds)
    return set(adata.obs.loc[is_drug.astype(bool), _keys.PERTURBATION].dropna().astype(str))


def _why_not(condition: Condition, is_drug: bool) -> str:
    if len(condition.parts) > 2:
        return f"has {len(condition.parts)} parts"
    if any(part.dose is not None for part in condition.parts):
        return "has a dose"
    if is_drug or any(part.kind == "drug" for part in condition.parts):
        return "is a drug"
    if any(part.kind for part in condition.parts):
        return "is one of two ways to perturb the gene"
    odd = [name for name in condition.names if "+" in name or _CONTROL in name]
    return f"has the name {odd[0]!r}, which it would take apart" if odd else ""


def _spell(condition: Condition) -> str:
    if condition.is_control:
        return _CONTROL
    return "+".join([*condition.names, _CONTROL][:2])


def _obs(conditions: pd.Series, cell_types: pd.Series) -> pd.DataFrame:
    treated = conditions != _CONTROL
    dose = pd.Series(np.where(treated, "1+1", "1"), index=conditions.index)
    return pd.DataFrame(
        {
            "condition": conditions.astype("category"),
            _CELL_TYPE: cell_types.astype("category"),
            "dose_val": dose.astype("category"),
            "control": (~treated).astype(int),
            "condition_name": (cell_types + "_" + conditions + "_" + dose).astype("category"),
        }
    )


def _check_groups(obs: pd.DataFrame) -> None:
    """Refuse a cell type without control cells, on which GEARS fails; warn of conditions of one cell, likewise."""
    without = sorted(set(obs[_CELL_TYPE]) - set(obs.loc[obs["control"] == 1, _CELL_TYPE]))
    if without:
        msg = f"expected control cells in every cell type; found none in {without[:5]}. Leave those cell types out."
        raise ValueError(msg)
    sizes = obs["condition_name"].value_counts()
    alone = sorted(sizes.index[sizes == 1].astype(str))
    if alone:
        text = (
            f"{len(alone)} conditions have one cell, such as {alone[:3]}; GEARS' t-test needs two. Leave them out, or "
            "call `new_data_process(..., skip_calc_de=True)`."
        )
        warnings.warn(text, UserWarning, stacklevel=3)
