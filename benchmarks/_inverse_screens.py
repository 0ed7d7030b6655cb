"""The screens of the inverse benchmark: read, labelled, normalised, described."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import anndata
import numpy as np
from anndata import AnnData

import scperturbmamba as spm

FOLDER = Path(os.environ.get("SPM_DATA", Path(__file__).parents[2] / "shared"))
DATA, KNOWLEDGE = FOLDER / "data", FOLDER / "knowledge"
PROMOTERS = ("CCNE2", "CPQ", "DSCC1", "FAM83A", "LRRCC1", "OXR1", "PHF20L1", "RIPK2", "STK3", "UBR5")


def norman() -> AnnData:
    """K562, CRISPRa: 18 singles and 15 doubles, five of them of two of the singles."""
    adata = anndata.read_h5ad(DATA / "norman2019_k562_crispra.h5ad")
    spm.pp.perturbation_labels(adata, "perturbation")
    spm.pp.qc_perturbseq(adata)
    spm.pp.normalize(adata, library_size="ncounts")
    return adata[:, np.asarray(adata.layers["counts"].sum(0)).ravel() > 0].copy()


def papalexi() -> AnnData:
    """THP-1, CRISPR knock-out: 25 genes in three replicates."""
    adata = anndata.read_h5ad(DATA / "papalexi2021_thp1_crisprko.h5ad")
    spm.pp.perturbation_labels(adata, "target")
    spm.pp.normalize(adata)
    return adata


def schraivogel() -> AnnData:
    """K562, CRISPRi: ten promoters of genes that are measured, four guides each."""
    adata = anndata.read_h5ad(DATA / "schraivogel2020_tapseq_k562_guides.h5ad")
    spm.pp.assign_guides(adata, r"^CROPseq_dCas9_DS_(non-targeting|[^_-]+)")
    one = (adata.obs["n_guides"] == 1).to_numpy()
    adata = adata[one & adata.obs["guide_target"].isin(["control", *PROMOTERS]).to_numpy()].copy()
    spm.pp.perturbation_labels(adata, "guide_target")
    spm.pp.normalize(adata)
    return adata


def toy() -> AnnData:
    """The toy world, whose posterior has something to be right about."""
    adata = spm.datasets.toy(cells_per_condition=100, n_control=600)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    return adata


def describe(adata: AnnData) -> None:
    """Tell the networks where the genes lie and which belong together."""
    files = {
        "position": KNOWLEDGE / "grch38_protein_coding_genes.csv.gz",
        "string": KNOWLEDGE / "string_v12_high_confidence.csv.gz",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        spm.tl.gene_features(adata, ["identity", *files], files=files)
