"""Recognise which column of a screen says what."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
from anndata import AnnData

from scperturbmamba.data.control_names import is_control_name
from scperturbmamba.data.dialects import kind_of, looks_like_column_of

_NAMES: dict[str, tuple[str, ...]] = {
    "perturbation": (
        "perturbation", "condition", "guide_target", "gene_target", "target_gene", "perturbation_name",
        "guide_identity", "treatment", "compound", "drug", "sgrna", "guide_id", "gene", "target", "pert",
        "cell_type+condition",
    ),
    "dose": ("dose", "concentration", "dose_value", "dose_amount", "dose_val", "dosage"),
    "dose_unit": ("dose_unit", "unit", "dose_units", "concentration_unit"),
    "perturbation_type": ("perturbation_type", "pert_type", "modality", "crispr_type"),
    "guide": ("guide", "guide_identity", "sgrna", "guide_id", "grna"),
    "context": ("cell_line", "celltype", "cell_type", "tissue", "context", "line"),
    "batch": ("batch", "gem_group", "gemgroup", "replicate", "bio_rep", "plate", "lane", "donor"),
}  # fmt: skip


def detect_columns(adata: AnnData) -> dict[str, Any]:
    """Find out which columns of a screen hold the perturbation, the control, the dose and the rest.

    Parameters
    ----------
    adata
        Cells × genes; only the names and values of ``obs`` columns are read.

    Returns
    -------
    dict
        ``perturbation``, ``dose``, ``dose_unit``, ``perturbation_type``, ``guide``, ``context``, ``batch`` (names of
        ``obs`` columns, None where there is none), ``control`` (the labels that mean control) and ``kind`` (what the
        type column says, or else what the perturbation column's name and values suggest: ``"knockout"``,
        ``"CRISPRi"``, ``"CRISPRa"``, ``"drug"``, or ``"unknown"``). Nothing is written.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> found = spm.pp.detect_columns(adata)
    >>> found["perturbation"], found["control"], found["context"], found["dose"]
    ('condition', ['control'], 'cell_line', None)
    """
    return find_columns(adata.obs)


def find_columns(obs: pd.DataFrame) -> dict[str, Any]:
    """Return what :func:`detect_columns` returns, of a table of cells."""
    columns = {role: _find(obs, names) for role, names in _NAMES.items()}
    columns["dose"] = _find(obs[[column for column in obs if _holds_numbers(obs[column])]], _NAMES["dose"])
    if not _has_control(obs, columns["perturbation"]):
        columns["perturbation"] = _column_with_control(obs) or columns["perturbation"]
    if columns["context"] == columns["perturbation"]:
        columns["context"] = None
    labels = _labels(obs, columns["perturbation"])
    found: dict[str, Any] = dict(columns)
    found["control"] = [label for label in labels if is_control_name(label)]
    found["kind"] = _kind(obs, columns, labels)
    return found


def _find(obs: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    """Return the column that bears the first of the names that occurs, in any case, with spaces or hyphens or ``_``."""
    folded = {re.sub(r"[\s\-]+", "_", str(column)).casefold(): str(column) for column in obs.columns}
    for name in names:
        if name in folded:
            return folded[name]
    return None


def _holds_numbers(values: pd.Series) -> bool:
    """Tell whether a column holds numbers, perhaps as text, and nothing else; truth values are none."""
    known = values.dropna()
    return (
        not pd.api.types.is_bool_dtype(known) and len(known) > 0 and pd.to_numeric(known, errors="coerce").notna().all()
    )


def _labels(obs: pd.DataFrame, column: str | None) -> list[str]:
    return [] if column is None else sorted(str(label) for label in obs[column].dropna().unique())


def _has_control(obs: pd.DataFrame, column: str | None) -> bool:
    return any(is_control_name(label) for label in _labels(obs, column))


def _column_with_control(obs: pd.DataFrame) -> str | None:
    """Return the first text column, of those with several values, that holds a control label."""
    for column in obs.columns:
        if isinstance(obs[column].dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(obs[column]):
            labels = _labels(obs, str(column))
            if len(labels) > 2 and any(is_control_name(label) for label in labels):
                return str(column)
    return None


def _kind(obs: pd.DataFrame, columns: dict[str, str | None], labels: list[str]) -> str:
    column = columns["perturbation"]
    if column is None:
        return "unknown"
    named = {kind_of(word) for word in _labels(obs, columns["perturbation_type"])} - {""}
    if len(named) == 1:
        return named.pop()
    suffixes = [kind_of(re.split(r"[_\- ]", label)[-1]) for label in labels if re.search(r"[_\- ]", label)]
    from_values = next((kind for kind in suffixes if kind), "")
    from_dose = "drug" if columns["dose"] is not None or any("@" in label for label in labels) else ""
    return looks_like_column_of(column) or from_values or from_dose or "unknown"
