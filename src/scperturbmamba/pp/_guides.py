r"""Assign guides to cells from guide counts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import scipy.sparse as sp
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import (
    as_names,
    check_choice,
    check_fraction,
    check_in_memory,
    check_params,
    check_positive,
)
from scperturbmamba.data.views import own
from scperturbmamba.pp._guide_calls import GuideCalls, by_dominant_guide, by_joint_model, by_mixture, by_threshold
from scperturbmamba.pp._guide_counts import find_guide_counts, guide_table, histogram
from scperturbmamba.pp._guide_labels import GuideLabels, label_cells
from scperturbmamba.pp._guide_targets import GuideTargets, targets_of
from scperturbmamba.pp._user_columns import keep_user_columns

_log = logging.getLogger("scperturbmamba")
_METHODS = ("joint", "mixture", "dominant", "threshold")


def assign_guides(
    adata: AnnData,
    guide_targets: GuideTargets,
    *,
    guides: AnnData | None = None,
    method: str = "joint",
    min_umi: int = 5,
    min_fraction: float = 0.8,
    max_doubt: float = 0.1,
    control: str | Sequence[str] | None = None,
) -> None:
    r"""Say which guides each cell carries, and which genes they target.

    Several guides of one gene in a cell are one target. A non-targeting guide beside others does not show in
    ``guide_target``, but counts as a target where :func:`qc_perturbseq` looks for multiplets; only where most control
    cells carry several, as vectors with two guides make them, are non-targeting guides one target.

    Parameters
    ----------
    adata
        Cells × genes, with guide UMIs in ``obsm["guide_counts"]``: cells × guides, a table with the guides as
        columns, or an array with their names in ``uns["guide_names"]``.
    guide_targets
        The target of each guide: a map, a Series, a table with the columns ``guide`` and ``target``, a regular
        expression with one group (``r"^(.+)_g\d+$"``) or a function. Usual words for a control
        (``"non-targeting"``, ``"NegCtrl3"``, ``"safe-targeting"``, …) become ``"control"``.
    guides
        Cells × guides with the guide UMIs, where they are not in ``adata``. Cells are matched by name.
    method
        ``"joint"``
            One model of ambient noise, carried guides and the number of guides per cell. Guides share what they
            have in common, so that it also serves shallow guide libraries. A cell whose counts do not decide
            between two sets of targets gets no label.
        ``"mixture"``
            A threshold per guide, from a Poisson-Gaussian mixture of its log counts.
        ``"dominant"``
            The top guide, where it has ``min_fraction`` of the cell's guide UMIs and at least ``min_umi``. This
            hides multiplets of unequal depth; a warning says how many cells have a second guide above ``min_umi``.
        ``"threshold"``
            Every guide with at least ``min_umi`` UMIs.
    min_umi
        Guide UMIs per cell, for ``"threshold"`` and ``"dominant"``.
    min_fraction
        Share of a cell's guide UMIs, for ``"dominant"``.
    max_doubt
        For ``"joint"``: a cell is labelled where no other guide is carried with more than this chance.
    control
        Targets or guides that are non-targeting, beside the usual words.

    Returns
    -------
    None
        Writes into ``adata``:

        ``obs["guide_identity"]``
            Category: the guides of the cell, joined by ``+`` (by ``|`` where guide names hold a ``+``); NaN where
            none was called or the counts do not decide.
        ``obs["n_guides"]``
            Integer: the number of those guides; in an undecided cell, of all that are possible.
        ``obs["guide_target"]``
            Category, canonical: ``"TP53"``, ``"MYC+TP53"``, ``"control"``; NaN as above. Pass it on:
            ``spm.pp.perturbation_labels(adata, "guide_target")``.
        ``uns["guides"]``
            ``params``; ``table``, a row per guide (``target``, ``threshold`` in UMIs, ``n_cells`` that carry it,
            ``mean_umi`` in those, ``ambient_rate``: UMIs per cell in the others); ``combinations``, a row per
            ``guide_identity`` (``n_guides``, ``n_targets`` as told above, ``target``, ``n_cells``);
            ``histogram`` of the non-zero counts.

        A column of the user's that bears one of these names is kept as ``obs["<name>_original"]``.

    Raises
    ------
    KeyError
        There are no guide counts, or no guide names, or cells of ``adata`` are missing in ``guides``.
    TypeError
        ``guide_targets`` is of another type.
    ValueError
        A guide has no target, the counts are no counts, or no cell carries a guide.

    References
    ----------
    The mixture is that of Replogle et al., Combinatorial single-cell CRISPR screens by direct guide RNA capture and
    targeted sequencing, Nature Biotechnology 38 (2020).

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=2, cells_per_condition=20)
    >>> spm.pp.assign_guides(adata, r"^(.+)_g\d+$")
    >>> int(adata.obs["guide_target"].isna().sum()) < 30
    True
    """
    check_in_memory(adata, function="spm.pp.assign_guides")
    check_choice(method, _METHODS, "method")
    check_positive(min_umi, "min_umi")
    check_fraction(min_fraction, "min_fraction")
    _check_doubt(max_doubt)
    counts, names, source = find_guide_counts(adata, guides)
    targets = targets_of(names, guide_targets, control)

    calls = _call(counts, method, min_umi=min_umi, min_fraction=min_fraction, max_doubt=max_doubt)
    labels = label_cells(calls.carried, calls.possible, names, targets)
    _check_some(labels)
    _report(labels, calls)

    params = {
        "method": method,
        "min_umi": int(min_umi),
        "min_fraction": float(min_fraction),
        "max_doubt": float(max_doubt),
        "control": as_names(control) if control is not None else None,
        "source": source,
        "separator": labels.separator,
        "n_hidden_multiplets": calls.n_hidden,
    }
    record = {
        _keys.PARAMS: check_params(params),
        "table": guide_table(counts, calls, names, targets),
        "combinations": labels.combinations,
        "histogram": histogram(counts, calls),
    }
    _write(adata, labels, record)


def _check_doubt(max_doubt: float) -> None:
    check_fraction(max_doubt, "max_doubt")
    if max_doubt > 0.5:
        msg = f"`max_doubt` must be at most 0.5, the chance at which a guide is called; found {max_doubt!r}."
        raise ValueError(msg)


def _call(counts: sp.csr_matrix, method: str, *, min_umi: float, min_fraction: float, max_doubt: float) -> GuideCalls:
    if method == "joint":
        return by_joint_model(counts, max_doubt)
    if method == "mixture":
        return by_mixture(counts, min_umi)
    if method == "dominant":
        return by_dominant_guide(counts, min_umi, min_fraction)
    return by_threshold(counts, min_umi)


def _check_some(labels: GuideLabels) -> None:
    if labels.target.isna().all():
        msg = (
            "expected cells that carry a guide; none was called in any cell. "
            'Lower `min_umi`, choose `method="joint"`, or check the guide counts.'
        )
        raise ValueError(msg)


def _report(labels: GuideLabels, calls: GuideCalls) -> None:
    shares = labels.shares()
    _log.info("guides: %s", ", ".join(f"{100 * share:.1f} %% %s" % kind for kind, share in shares.items()))
    if calls.n_hidden:
        warnings.warn(
            f"`method='dominant'` labels {calls.n_hidden} cells by their top guide although a second one has "
            "`min_umi` UMIs too: likely multiplets. Raise `min_fraction`, or choose `method='joint'`.",
            UserWarning,
            stacklevel=3,
        )


def _write(adata: AnnData, labels: GuideLabels, record: dict[str, Any]) -> None:
    own(adata)
    slots = (_keys.GUIDE_IDENTITY, _keys.N_GUIDES, _keys.GUIDE_TARGET)
    keep_user_columns(adata, slots, written_by=_keys.GUIDES)
    for slot, values in zip(slots, (labels.identity, labels.n_guides, labels.target)):
        adata.obs[slot] = values
    adata.uns[_keys.GUIDES] = record
