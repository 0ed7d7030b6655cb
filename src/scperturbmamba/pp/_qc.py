"""Drop the cells of a screen that cannot be trusted, each with a reason."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_in_memory, check_key, check_params, check_positive, check_unique_genes
from scperturbmamba.data.counts import Counts, find_counts
from scperturbmamba.data.views import own
from scperturbmamba.pp._multiplets import default_max_targets, has_guides, targets_per_cell, warn_of_designed_pairs
from scperturbmamba.pp._qc_limits import gene_limits, mt_limit
from scperturbmamba.pp._qc_reasons import (
    KEPT,
    MULTIPLET,
    Cells,
    Limits,
    check_some_left,
    drop_reasons,
    rules,
    waterfall,
)
from scperturbmamba.pp._qc_tables import condition_table, distributions, guide_table, knockdown_per_cell
from scperturbmamba.pp._user_columns import keep_user_columns

_log = logging.getLogger("scperturbmamba")
_LABELS = "spm.pp.perturbation_labels"


def qc_perturbseq(
    adata: AnnData,
    *,
    layer: str | None = None,
    min_genes: int | None = None,
    max_genes: int | None = None,
    max_pct_mt: float | None = None,
    n_mads: float = 5.0,
    min_cells: int = 10,
    max_targets: int | None = None,
    min_control_umi: float = 0.3,
    subset: bool = True,
) -> None:
    r"""Drop poor cells, unlabelled cells, multiplets and conditions with few cells, and measure the knock-down.

    Each cell is dropped for the first reason that holds: no counts; few genes; many genes; mitochondrial;
    unlabelled; multiplet; few cells of the condition (never the control).

    Parameters
    ----------
    adata
        Cells × genes with raw counts, labelled by :func:`perturbation_labels`.
    layer
        Layer that holds the counts; by default they are looked for.
    min_genes, max_genes
        Fewest and most genes of a cell. By default they follow the distribution: ``n_mads`` deviations from the
        median on a log scale, never between half and twice the median.
    max_pct_mt
        Highest share of mitochondrial counts, per cent; by default ``n_mads`` deviations above the median, at least
        5. Not used where no gene named ``MT-…`` is measured.
    n_mads
        Scaled median absolute deviations, for the limits that follow the distribution.
    min_cells
        Fewest cells of a condition.
    max_targets
        Most targets of a cell; a cell with more is a multiplet. Where guides were assigned, non-targeting guides
        count as :func:`assign_guides` says. The default is 1 where the labels are the ``guide_target`` of
        :func:`assign_guides`, which hold the multiplets of a screen with one guide per cell (pass 2 where two are
        meant); for labels from elsewhere it is the number of parts of the largest combination, so that none is
        dropped by its label.
    min_control_umi
        UMIs per control cell below which a target's knock-down is not measurable.
    subset
        Drop the cells; otherwise only say which would be dropped.

    Returns
    -------
    None
        Drops cells of ``adata`` in place and writes:

        ``obs["total_counts"]``, ``obs["n_genes_by_counts"]``, ``obs["pct_counts_mt"]``
            As scanpy has them, the last where mitochondrial genes are measured.
        ``obs["qc_reason"]``
            Category: ``"kept"`` or the reason.
        ``obs["knockdown"]``
            Share of the target's control expression that is lost in the cell's condition, negative where it rose;
            NaN where it cannot be measured.
        ``uns["qc"]``
            ``params``, with the limits chosen; ``waterfall`` (``rule``, ``n_dropped``, ``n_left``, in order);
            ``conditions`` (``n_cells_before``, ``n_cells``, ``target``, ``target_control`` in UMIs per cell,
            ``target_left``: the ratio of mean expression, scaled to the median library, over that of control cells,
            ``target_left_se``, ``status``), where a combination shows the target that changed least; ``guides``, the
            same for cells with one guide; ``distributions``, histograms for ``pl.qc``.

    Raises
    ------
    KeyError
        There are no labels, or the layer is not there.
    ValueError
        A limit makes no sense, no raw counts are found, or no cell would be left.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=20)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.qc_perturbseq(adata)
    >>> bool(adata.uns["qc"]["waterfall"].loc["unlabelled", "n_dropped"] > 0)
    True
    """
    check_in_memory(adata, function="spm.pp.qc_perturbseq")
    for slot in (_keys.PERTURBATION, _keys.IS_CONTROL, _keys.N_PARTS):
        check_key(adata, "obs", slot, made_by=_LABELS)
    check_unique_genes(adata)
    _check_limits(min_genes, max_genes, max_pct_mt)
    most = default_max_targets(adata) if max_targets is None else max_targets
    numbers = {"n_mads": n_mads, "min_cells": min_cells, "max_targets": most, "min_control_umi": min_control_umi}
    for name, value in numbers.items():
        check_positive(value, name)
    counts = find_counts(adata, layer=layer)
    metrics = _metrics(adata, counts)
    cells = Cells(
        labels=adata.obs[_keys.PERTURBATION].astype("category"),
        is_control=adata.obs[_keys.IS_CONTROL].to_numpy(dtype=bool),
        n_targets=targets_per_cell(adata),
    )

    limits = _limits(metrics, adata.n_vars, n_mads, min_genes=min_genes, max_genes=max_genes, max_pct_mt=max_pct_mt)
    reasons = drop_reasons(metrics, cells, limits, max_targets=most, min_cells=min_cells)
    kept = reasons == KEPT
    table = waterfall(reasons, rules(limits, most, min_cells))
    check_some_left(table)
    if max_targets is None and most == 1:
        warn_of_designed_pairs(cells.labels[kept | (reasons == MULTIPLET)])
    conditions = condition_table(adata.var_names, counts, cells, reasons, min_umi=min_control_umi)
    params = {"counts_source": counts.source, **limits, "subset": bool(subset)}
    params |= {name: value.item() if isinstance(value, np.generic) else value for name, value in numbers.items()}
    record: dict[str, Any] = {
        _keys.PARAMS: check_params(params),
        "waterfall": table,
        "conditions": conditions,
        "distributions": distributions(metrics, kept),
    }
    if has_guides(adata):
        record["guides"] = guide_table(adata, counts, cells, reasons, min_umi=min_control_umi)
    metrics[_keys.QC_REASON] = pd.Categorical(reasons, categories=[KEPT, *table.index])
    metrics[_keys.KNOCKDOWN] = knockdown_per_cell(cells.labels, conditions)

    _log.info("qc: kept %d of %d cells", int(kept.sum()), adata.n_obs)
    _write(adata, metrics, record, subset=subset)


def _write(adata: AnnData, columns: pd.DataFrame, record: dict[str, Any], *, subset: bool) -> None:
    own(adata)
    keep_user_columns(adata, (_keys.QC_REASON, _keys.KNOCKDOWN), written_by=_keys.QC)
    for name in columns:
        adata.obs[name] = columns[name].array
    adata.uns[_keys.QC] = record
    if subset:
        adata._inplace_subset_obs((adata.obs[_keys.QC_REASON] == KEPT).to_numpy())


def _check_limits(min_genes: int | None, max_genes: int | None, max_pct_mt: float | None) -> None:
    for name, value in {"min_genes": min_genes, "max_genes": max_genes, "max_pct_mt": max_pct_mt}.items():
        if value is not None and not (isinstance(value, (int, float, np.number)) and value >= 0):
            msg = f"`{name}` must be a number, not negative; found {value!r}."
            raise ValueError(msg)
    if min_genes is not None and max_genes is not None and min_genes > max_genes:
        msg = f"`min_genes` must be at most `max_genes`; found {min_genes} and {max_genes}."
        raise ValueError(msg)


def _metrics(adata: AnnData, counts: Counts) -> pd.DataFrame:
    """Return scanpy's per-cell metrics; the mitochondrial share only where such genes are measured."""
    genes = pd.DataFrame(index=adata.var_names)
    genes["mt"] = genes.index.astype(str).str.upper().str.startswith("MT-")
    bare = AnnData(counts.matrix, obs=pd.DataFrame(index=adata.obs_names), var=genes)
    has_mt = bool(genes["mt"].any())
    per_cell, _ = sc.pp.calculate_qc_metrics(
        bare, qc_vars=["mt"] if has_mt else [], percent_top=None, log1p=False, inplace=False
    )
    columns = [_keys.N_GENES, _keys.TOTAL_COUNTS, *([_keys.PCT_MT] if has_mt else [])]
    return per_cell[columns].copy()


def _limits(
    metrics: pd.DataFrame,
    n_measured: int,
    n_mads: float,
    *,
    min_genes: int | None,
    max_genes: int | None,
    max_pct_mt: float | None,
) -> Limits:
    """Return the limits that hold: the user's, else those of the distribution of cells with counts."""
    shown = metrics[metrics[_keys.TOTAL_COUNTS] > 0]
    if not len(shown):
        msg = "expected cells with counts; every count is zero. Check the counts, or give their `layer=`."
        raise ValueError(msg)
    low, high = gene_limits(shown[_keys.N_GENES].to_numpy(dtype=float), n_mads)
    high = min(high, n_measured)
    limits: Limits = {
        "min_genes": min(low, max_genes or low) if min_genes is None else int(min_genes),
        "max_genes": max(high, min_genes or high) if max_genes is None else int(max_genes),
        "max_pct_mt": None,
    }
    if _keys.PCT_MT in metrics:
        found = mt_limit(shown[_keys.PCT_MT].to_numpy(dtype=float), n_mads)
        limits["max_pct_mt"] = found if max_pct_mt is None else float(max_pct_mt)
    return limits
