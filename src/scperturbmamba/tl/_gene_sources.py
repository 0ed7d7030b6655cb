"""Each source of gene features, made from an AnnData: the table over measured and other genes, and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray
from tqdm.auto import tqdm

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_finite, check_key, check_unique_genes
from scperturbmamba._settings import settings
from scperturbmamba.data.training_controls import training_controls
from scperturbmamba.engine.autoencoder import Mode
from scperturbmamba.features.annotations import annotation_table, is_annotations
from scperturbmamba.features.gene_sets import membership, read_gene_sets
from scperturbmamba.features.genome import UNKNOWN
from scperturbmamba.features.graph import graph_table, is_links
from scperturbmamba.features.identity import identity_table
from scperturbmamba.features.names import other_names
from scperturbmamba.features.pathways import Pathways, fit_pathways
from scperturbmamba.features.places import find_places, installed_genome, places_of, read_places
from scperturbmamba.features.position import position_table
from scperturbmamba.features.provenance import fingerprint
from scperturbmamba.features.tables import numeric_table
from scperturbmamba.pp import normalize
from scperturbmamba.tl._screen_source import SCREEN_SOURCES, screen_table

OWN_SOURCES = ("identity", "position", "pathway")

_GRAPH_WIDTH, _ANNOTATION_WIDTH, _SCREEN_WIDTH = 128, 100, 32
_MIN_CONTROLS = 10
_MAX_CONTROLS = 3000  # more cells do not change the pathways, and cost memory


@dataclass(frozen=True)
class Request:
    """What the user asked for, as the makers of the tables read it."""

    adata: AnnData
    files: dict[str, Any]
    reference: AnnData | None
    width: dict[str, int]
    pathway_mode: Mode | None
    aliases: Mapping[str, str | Sequence[str]]
    download: bool
    random_state: int

    def all_aliases(self) -> dict[str, list[str]]:
        """Return the user's aliases and the further names that ``var`` holds."""
        merged = {name: as_names(others) for name, others in self.aliases.items()}
        for name, others in other_names(self.adata.var).items():
            merged.setdefault(name, []).extend(others)
        return merged


@dataclass(frozen=True)
class Made:
    """One source, computed.

    Attributes
    ----------
    table
        The genes asked for × numbers.
    params
        What it was made with, flat.
    provenance
        sha256 of what it was made from.
    """

    table: pd.DataFrame
    params: dict[str, Any]
    provenance: str


def make_source(source: str, names: list[str], request: Request) -> Made:
    """Return the table of one source over ``names``, the measured genes first."""
    if source == "identity":
        table = identity_table(names, request.width.get("identity", 16))
        return Made(table, {}, fingerprint(request.adata.var_names))
    if source == "position":
        return _position(names, request)
    if source == "pathway":
        return _pathway(names, request)
    if source in SCREEN_SOURCES and source not in request.files:
        return _screen(source, names, request)
    return _from_file(source, names, request)


def _screen(source: str, names: list[str], request: Request) -> Made:
    other = request.reference
    if other is None:
        msg = f"source {source!r} is another screen, so `reference` must be that screen. Pass `reference=other`."
        raise ValueError(msg)
    width, seed = request.width.get(source, _SCREEN_WIDTH), request.random_state
    table = screen_table(source, names, other, width=width, aliases=request.all_aliases(), random_state=seed)
    labels = other.obs[_keys.PERTURBATION].astype(str)
    matrix = other.X.toarray() if sp.issparse(other.X) else np.asarray(other.X)
    provenance = fingerprint([fingerprint(matrix), fingerprint(other.var_names), fingerprint(labels)])
    return Made(table, {"kind": "screen", "width": width, "n_rows": other.n_obs, "random_state": seed}, provenance)


def _position(names: list[str], request: Request) -> Made:
    """Look for places in ``var``, then in the user's file, then in what pyensembl holds."""
    in_var = places_of(request.adata.var)
    given = [] if in_var is None else [in_var]
    if "position" in request.files:
        given.append(read_places(request.files["position"]))
    aliases = request.all_aliases()
    places = find_places(names, given, aliases=aliases)
    release = None
    if (places["chromosome"] == UNKNOWN).any() and (request.download or "position" not in request.files):
        genome = installed_genome(download=request.download)
        if genome is not None:
            release = str(genome.release)
            given.append(read_places(genome))
            places = find_places(names, given, aliases=aliases)
    chromosome, start = places["chromosome"].to_numpy(), places["start"].to_numpy()
    table = position_table(names, chromosome, start, n_frequencies=request.width.get("position", 8))
    return Made(table, {"assembly": "GRCh38", "ensembl_release": release}, fingerprint(map(fingerprint, given)))


def _pathway(names: list[str], request: Request) -> Made:
    sets = read_gene_sets(request.files["pathway"]) if "pathway" in request.files else None
    mode: Mode = request.pathway_mode or ("data" if sets is None else "init")
    expression, genes = _controls(request)
    with tqdm(desc="pathway autoencoder", unit="pass", disable=not settings.progress, leave=False) as bar:
        pathways = fit_pathways(
            expression,
            genes,
            width=request.width.get("pathway"),
            sets=sets,
            mode=mode,
            aliases=request.all_aliases(),
            random_state=request.random_state,
            on_epoch=bar.update,
        )
    table = pathways.table(names, aliases=request.all_aliases())
    provenance = fingerprint([fingerprint(expression), fingerprint(genes), fingerprint(sets or {})])
    return Made(table, _pathway_params(pathways, mode, len(expression), request), provenance)


def _pathway_params(pathways: Pathways, mode: str, n_cells: int, request: Request) -> dict[str, Any]:
    fit = pathways.fit
    return {
        "mode": mode,
        "cells": "controls" if request.reference is None else "reference",
        "n_cells": n_cells,
        "n_learned": len(pathways.vectors),
        "epochs": fit.epochs,
        "set_strength": fit.strength,
        "r2_held_out": fit.r2,
        "r2_held_out_pca": fit.r2_pca,
        "random_state": request.random_state,
    }


def _controls(request: Request) -> tuple[NDArray[np.float32], list[str]]:
    """Return log-normalised control cells × genes, dense, and the names of the genes."""
    if request.reference is not None:
        source, cells = _log_normalised(request.reference), np.arange(request.reference.n_obs)
    else:
        check_key(request.adata, "obs", _keys.IS_CONTROL, made_by="spm.pp.perturbation_labels")
        source, cells = request.adata, np.flatnonzero(training_controls(request.adata))
    if len(cells) < _MIN_CONTROLS:
        msg = (
            f'source "pathway" learns from control cells and needs at least {_MIN_CONTROLS}; found {len(cells)}. '
            "Pass healthy cells as `reference=`, or leave this source out."
        )
        raise ValueError(msg)
    if len(cells) > _MAX_CONTROLS:
        cells = np.sort(np.random.default_rng(request.random_state).choice(cells, _MAX_CONTROLS, replace=False))
    matrix = source.X[cells]
    check_finite(matrix, what="`adata.X`")
    if request.reference is None and _is_whole(matrix):
        msg = "`adata.X` holds raw counts; the pathways need log-normalised expression. Run `spm.pp.normalize` first."
        raise ValueError(msg)
    dense = matrix.toarray() if sp.issparse(matrix) else matrix
    return np.asarray(dense, dtype=np.float32), [str(name) for name in source.var_names]


def _log_normalised(reference: AnnData) -> AnnData:
    check_unique_genes(reference)
    if not _is_whole(reference.X):
        return reference
    copy = AnnData(reference.X.copy(), var=reference.var[[]])
    normalize(copy)
    return copy


def _is_whole(matrix: Any) -> bool:
    data = matrix.data if sp.issparse(matrix) else np.asarray(matrix)
    return bool(data.size) and bool((data == np.rint(data)).all()) and bool(data.max() > 0)


def _from_file(source: str, names: list[str], request: Request) -> Made:
    given, aliases = request.files[source], request.all_aliases()
    if isinstance(given, Mapping) or (isinstance(given, (str, Path)) and _is_gmt(given)):
        sets = read_gene_sets(given)
        return Made(membership(names, sets, aliases=aliases), {"kind": "gene sets"}, fingerprint(sets))
    if is_annotations(given):
        width = request.width.get(source, _ANNOTATION_WIDTH)
        table = annotation_table(names, given, width=width, aliases=aliases)
        return Made(table, {"kind": "annotations", "width": width}, fingerprint(given))
    if is_links(given):
        width = request.width.get(source, _GRAPH_WIDTH)
        table = graph_table(names, given, width=width, aliases=aliases)
        return Made(table, {"kind": "graph", "width": width}, fingerprint(given))
    return Made(numeric_table(names, given, aliases=aliases), {"kind": "table"}, fingerprint(given))


def _is_gmt(path: str | Path) -> bool:
    return str(path).removesuffix(".gz").endswith(".gmt")
