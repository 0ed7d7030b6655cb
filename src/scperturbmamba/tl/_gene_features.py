"""What is known of each gene before any perturbation: one table per source, for measured and perturbed genes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import (
    as_names,
    check_choice,
    check_in_memory,
    check_key,
    check_params,
    check_unique_genes,
)
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.views import own
from scperturbmamba.data.words import words_of
from scperturbmamba.engine.autoencoder import Mode
from scperturbmamba.features.names import resolve_genes
from scperturbmamba.features.tables import KNOWN
from scperturbmamba.tl._gene_sources import OWN_SOURCES, Made, Request, make_source
from scperturbmamba.tl._screen_source import SCREEN_SOURCES

_log = logging.getLogger("scperturbmamba")

_MODES = ("data", "init", "mask")


def gene_features(
    adata: AnnData,
    sources: str | Sequence[str] = OWN_SOURCES,
    *,
    files: Mapping[str, Any] | None = None,
    reference: AnnData | None = None,
    genes: Sequence[str] | None = None,
    width: Mapping[str, int] | None = None,
    pathway_mode: Mode | None = None,
    aliases: Mapping[str, str | Sequence[str]] | None = None,
    download: bool = False,
    random_state: int = 0,
) -> None:
    """Describe every gene, measured or perturbed, by numbers that a model can use for genes it never saw perturbed.

    Genes are matched by symbol, alias, HGNC rename or Ensembl id, whichever of the two lists is the older.

    Parameters
    ----------
    adata
        Cells × genes with ``obs["perturbation"]``; ``"pathway"`` also needs log-normalised ``X``.
    sources
        What to compute. ``"identity"``: a fixed random code of the name. ``"position"``: chromosome, start /
        chromosome length and its waves on GRCh38, from ``var`` (``chromosome``, ``start``), then
        ``files["position"]``, then installed pyensembl data. ``"pathway"``: the decoder row of an autoencoder
        trained on control cells (those of the training side where ``obs["split"]`` exists). ``"screen"``: what
        perturbing the gene does in another screen, ``reference``; ``"screen_response"``: how the gene responds there
        to perturbations, in the same coordinates. Any other name is a key of ``files``.
    files
        Source → path or object. ``"position"``: a table, CSV, TSV, GTF or ``pyensembl.Genome``. ``"pathway"``: gene
        sets, a GMT or a mapping of set to genes. Any other: gene sets, giving 0/1 membership; a gene × number table
        (CSV, TSV, DataFrame); annotated terms, such as those of the Gene Ontology: a row per term, with a column
        ``genes`` of names joined by ``|`` and, if at hand, one of domains (``go_domain``, ``domain``, ``namespace``,
        ``aspect``), giving each gene its place in each domain; or links between genes, such as those of STRING: two
        columns of genes that share names and a ``weight``, ``score`` or ``combined_score``, giving each gene its
        place in the graph.
    reference
        For ``"pathway"``: healthy cells to learn the pathways from, in place of the screen's controls; counts are
        normalised. For ``"screen"`` and ``"screen_response"``: another screen with ``obs["perturbation"]``, cells
        with log-normalised ``X`` and controls, or a table of effects, NaN where unknown. It must not hold the
        perturbations that are tested later, measured in the same cells.
    genes
        Genes to describe beside the measured and the perturbed ones.
    width
        Numbers per gene: ``{"identity": 16, "position": 8, "pathway": 32}`` are the defaults; for ``"position"``
        the number of waves. For a graph 128, half of them spectral, half of a random walk; for annotated terms 100
        a domain; for another screen 32, its leading singular vectors.
    pathway_mode
        ``"init"`` (default with gene sets): the decoder starts as the sets and reconstructs held-out controls no
        worse than a PCA of equal width; ``"mask"``: only members of a set have a weight for it; ``"data"``
        (default without): no sets in the decoder, they only predict vectors of genes that are not measured.
    aliases
        Other names of genes, each the same gene as its key.
    download
        Let pyensembl fetch positions where it holds none.
    random_state
        Seed of the autoencoder.

    Returns
    -------
    None
        Writes, for each source:

        ``varm["gene_<source>"]``
            Genes × numbers, a float32 DataFrame; where a gene may be missing its last column ``known`` is 0 or 1
            (1 also for a pathway vector predicted from gene sets), and the row of a missing gene is zero (of a
            position: chromosome code 24).
        ``uns["gene_<source>"]``
            ``params``, ``provenance`` (sha256 of each input) and ``targets``, the same columns for the perturbed
            genes outside ``var_names`` and those of ``genes``.

    Raises
    ------
    KeyError
        ``obs["perturbation"]`` or, for ``"pathway"``, ``obs["is_control"]`` is missing.
    ValueError
        A source has no file or no ``reference``, a position lies beyond its chromosome, ``X`` holds raw counts, or
        controls are few.
    ImportError
        ``download=True`` without pyensembl.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> outside = adata.uns["toy"]["outside"]
    >>> spm.tl.gene_features(adata, ["identity", "position"], files={"position": outside})
    >>> adata.varm["gene_identity"].shape
    (40, 16)
    >>> adata.uns["gene_position"]["targets"].shape[0] == len(outside)
    True
    """
    check_in_memory(adata, function="spm.tl.gene_features")
    check_unique_genes(adata)
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    sources, files = as_names(sources), dict(files or {})
    _check_request(sources, files, width or {}, pathway_mode)
    _check_reference(sources, files)

    request = Request(adata, files, reference, dict(width or {}), pathway_mode, aliases or {}, download, random_state)
    targets = _Targets.of(adata, [*_perturbed_genes(adata), *as_names(genes or [])], aliases or {})
    names = [*map(str, adata.var_names), *targets.outside]

    made = {source: make_source(source, names, request) for source in dict.fromkeys(sources)}
    _warn_of_missing(made, adata.n_vars)

    slots = {_keys.GENE_PREFIX + source: _slots(one, adata, targets) for source, one in made.items()}
    own(adata)
    for slot, (table, record) in slots.items():
        adata.varm[slot] = table
        adata.uns[slot] = record


@dataclass(frozen=True)
class _Targets:
    """Genes outside ``var_names``: the measured gene that each is by another name, or its place among the rest."""

    rows: pd.Series
    outside: list[str]

    @classmethod
    def of(cls, adata: AnnData, wanted: list[str], aliases: Mapping[str, str | Sequence[str]]) -> _Targets:
        missing = [name for name in dict.fromkeys(wanted) if name not in adata.var_names]
        measured, _ = resolve_genes(missing, adata.var, aliases=aliases)
        rows = pd.Series(adata.var_names.get_indexer(measured), index=pd.Index(missing, dtype=object))
        outside = list(rows.index[rows < 0])
        rows[rows < 0] = adata.n_vars + np.arange(len(outside))
        return cls(rows, outside)


def _check_reference(sources: list[str], files: dict[str, Any]) -> None:
    screens = [source for source in sources if source in SCREEN_SOURCES and source not in files]
    if screens and "pathway" in sources:
        msg = (
            f"`reference` would be both another screen, for {screens}, and healthy cells, for 'pathway'. "
            "Call `spm.tl.gene_features` once for each."
        )
        raise ValueError(msg)


def _check_request(
    sources: list[str], files: dict[str, Any], width: Mapping[str, int], pathway_mode: str | None
) -> None:
    for source in sources:
        if source not in (*OWN_SOURCES, *SCREEN_SOURCES) and source not in files:
            msg = (
                f"source {source!r} is none of {[*OWN_SOURCES, *SCREEN_SOURCES]}, so `files` must say where it is. "
                f'Pass `files={{"{source}": "sets.gmt"}}` or a gene × number table. Found: {sorted(files)}.'
            )
            raise ValueError(msg)
        if source.startswith(_keys.DRUG_PREFIX):
            msg = f"source {source!r} bears the name of a table of drugs. Rename it, or use `spm.tl.drug_features`."
            raise ValueError(msg)
        if "/" in source:
            msg = f"source {source!r} becomes the name of a slot, which holds no '/'. Rename it."
            raise ValueError(msg)
    unused = sorted(set(files) - (set(sources) - {"identity"}))
    if unused:
        msg = f"`files` has {unused}, which no source reads. Add them to `sources`; found {sources}."
        raise ValueError(msg)
    for name, value in width.items():
        check_choice(name, tuple(dict.fromkeys((*OWN_SOURCES, *sources))), "width")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            msg = f"`width[{name!r}]` must be a whole number above 0; found {value!r}."
            raise ValueError(msg)
    if pathway_mode is not None:
        check_choice(pathway_mode, _MODES, "pathway_mode")


def _perturbed_genes(adata: AnnData) -> list[str]:
    """Return the genes of all conditions, sorted; drugs are left out."""
    columns = adata.obs[[_keys.PERTURBATION]].assign(
        kind=words_of(adata.obs[_keys.PERTURBATION_TYPE]) if _keys.PERTURBATION_TYPE in adata.obs else ""
    )
    found = set()
    for label, kind in columns.dropna().drop_duplicates().itertuples(index=False):
        for part in Condition.parse(str(label)).parts:
            if "drug" not in (part.kind, kind) and part.dose is None:
                found.add(part.name)
    return sorted(found)


def _slots(made: Made, adata: AnnData, targets: _Targets) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return what goes into ``varm`` and ``uns``."""
    measured = made.table.iloc[: adata.n_vars].set_axis(adata.var_names, axis=0)
    rows = made.table.iloc[targets.rows.to_numpy()].set_axis(targets.rows.index, axis=0)
    params = {"n_genes": adata.n_vars, "n_targets": len(rows), **made.params}
    if KNOWN in measured:
        params |= {"n_known": int(measured[KNOWN].sum()), "n_known_targets": int(rows[KNOWN].sum())}
    return measured, {_keys.PARAMS: check_params(params), "provenance": made.provenance, "targets": rows}


def _warn_of_missing(made: Mapping[str, Made], n_vars: int) -> None:
    """Say which measured genes a source does not know, and which other genes none knows."""
    known = pd.DataFrame({source: one.table[KNOWN] > 0 for source, one in made.items() if KNOWN in one.table})
    for source in known:
        lacking = list(known.index[:n_vars][~known[source].iloc[:n_vars]])
        text = f"{len(lacking)} of {n_vars} measured genes have no {source} features, such as {lacking[:5]}."
        if lacking and source == "position":
            _warn(f'{text} Give their places: `files={{"position": table or GTF}}`.')
        elif len(lacking) == n_vars:
            _warn(f"{text} Do the names of that source fit those of `adata.var_names`?")
        elif lacking:
            _log.info(text)
    nowhere = list(known.index[n_vars:][~known.iloc[n_vars:].any(axis=1)]) if known.shape[1] else []
    if nowhere:
        _warn(
            f"none of {list(known)} knows these {len(nowhere)} genes outside `adata.var_names`: {nowhere[:20]}. "
            "Check their spelling, or give their other names: `aliases=`."
        )


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)
