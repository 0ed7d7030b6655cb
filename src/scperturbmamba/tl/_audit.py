"""Look for what makes a held-out score too good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_finite, check_in_memory
from scperturbmamba.data.counts import find_counts
from scperturbmamba.data.findings import CLEAN, LEAK, Finding, counted, findings_table, some
from scperturbmamba.data.held_out import HeldOut
from scperturbmamba.data.split_leaks import seen_parts, shared_conditions, shared_controls
from scperturbmamba.data.twins import twins
from scperturbmamba.tl._audit_genes import chosen_genes, described_genes
from scperturbmamba.tl._audit_inputs import held_out_cells_in_inputs, label_in_inputs
from scperturbmamba.tl._audited import Audited
from scperturbmamba.tl._model_inputs import InputMaker, read_inputs


def audit_leakage(
    adata: AnnData,
    *,
    inputs: str | Sequence[str] | pd.DataFrame | InputMaker | None = None,
    key: str = _keys.SPLIT,
    context: str | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Look for what makes a held-out score too good: eight leaks, each with what was found and what to do.

    Parameters
    ----------
    adata
        Cells × genes with labels, a split, and expression in ``X``.
    inputs
        What your model reads. A name, or several, of ``obsm`` or ``obs``: inputs of cells. A DataFrame whose index
        are labels: inputs of conditions. A function that takes an AnnData and returns an array with a row per cell or
        such a DataFrame: the surest, for it is called again on copies in which labels, or held-out cells, are
        changed.
    key
        Column of ``obs`` with the split.
    context
        Column of ``obs`` with cell lines or batches: a condition is then a label in a context. The default is one
        context, or the column by which the scheme ``"context"`` or ``"pair"`` was split.
    random_state
        Seed of permutations and samples.

    Returns
    -------
    DataFrame of checks
        ``check``
            ``"shared perturbations"``, ``"parts seen in combinations"``, ``"genes chosen with test cells"``,
            ``"features from test cells"``, ``"inputs derived from the label"``, ``"inputs derived from held-out
            cells"``, ``"duplicated cells"``, ``"shared control cells"``.
        ``verdict``
            ``"clean"``, ``"leak"``, ``"warning"`` (a score needs a word with it) or ``"not checked"``.
        ``found``
            In words, with numbers and examples.
        ``advice``
            What to type; empty where nothing is to be done.

        ``adata`` stays as it is.

    Raises
    ------
    KeyError
        Labels, split, context or a named input are not there.
    TypeError
        ``inputs`` is of another kind.
    ValueError
        A side has an unknown name or is empty, ``X`` is empty or holds NaN, or inputs have another shape.

    References
    ----------
    Kapoor & Narayanan (2023), Patterns: what leaks in machine-learning based science. Ahlmann-Eltze et al. (2025),
    Nature Methods.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> table = spm.tl.audit_leakage(adata, inputs="perturbation_idx")
    >>> table.loc[table["verdict"] == "leak", "check"].to_list()
    ['inputs derived from the label']
    """
    check_in_memory(adata, function="spm.tl.audit_leakage")
    held = HeldOut.read(adata, key, context)
    if adata.X is None:
        msg = "`adata.X` is empty; expected expression. Run `spm.pp.normalize(adata)` first."
        raise ValueError(msg)
    check_finite(adata.X, what="`adata.X`")
    one = Audited(adata, held, np.random.default_rng(random_state))
    given = read_inputs(adata, held, inputs)

    return findings_table(
        {
            "shared perturbations": shared_conditions(held),
            "parts seen in combinations": seen_parts(held),
            "genes chosen with test cells": chosen_genes(one),
            "features from test cells": described_genes(one),
            "inputs derived from the label": label_in_inputs(one, given),
            "inputs derived from held-out cells": held_out_cells_in_inputs(one, given),
            "duplicated cells": _duplicates(one),
            "shared control cells": shared_controls(held),
        }
    )


def _duplicates(one: Audited) -> Finding:
    """Look for the same cell on both sides, in raw counts where there are any."""
    matrix, source = _cells(one.adata)
    pairs = twins(matrix, one.held.seen, one.held.test, rng=one.rng)
    n_test = counted(int(one.held.test.sum()), "test cell")
    if not len(pairs):
        return Finding(CLEAN, f"none of {n_test} equals a training or validation cell in {source}")
    names = one.adata.obs_names
    examples = some(f"{names[test]} = {names[seen]}" for seen, test in pairs)
    found = f"{len(pairs)} of {n_test} equal a training or validation cell in {source} ({examples})"
    return Finding(LEAK, found, f"keep each cell once, then split again: `{one.held.call}`")


def _cells(adata: AnnData) -> tuple[Any, str]:
    try:
        counts = find_counts(adata)
    except ValueError:
        return adata.X, "X"
    return counts.matrix, counts.source
