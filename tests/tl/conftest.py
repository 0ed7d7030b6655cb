"""A small screen with features, and predictors trained on it for a few epochs."""

import numpy as np
import pytest
import torch

import scperturbmamba as spm

NET = {"core": None, "width": 8, "head_width": 8, "state": 4}
TRAIN = {"epochs": 3, "every_n_epochs": 1}


def _sets(adata):
    return adata.uns["toy"]["gene_sets"]


def _screen(**options):
    sizes = {"n_genes": 40, "n_singles": 16, "n_doubles": 4, "n_outside": 3, "cells_per_condition": 14, "n_control": 90}
    adata = spm.datasets.toy(**{**sizes, **options})
    adata.var = adata.var.rename(index={"CNN1": "MARCHF8"})  # a gene with an older name, MARCH8
    sets = {name: ["MARCHF8" if one == "CNN1" else one for one in genes] for name, genes in _sets(adata).items()}
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata, "condition", context="cell_line")
    files = {"position": adata.uns["toy"]["outside"], "sets": sets}
    spm.tl.gene_features(adata, ["identity", "position", "sets"], files=files, width={"identity": 6, "position": 4})
    return adata


@pytest.fixture(scope="session")
def shared_screen():
    torch.set_num_threads(1)
    return _screen()


@pytest.fixture(scope="session")
def shared_trained(shared_screen):
    adata = shared_screen.copy()
    spm.tl.train_predictor(adata, net=NET, train=TRAIN)
    return adata


@pytest.fixture(scope="session")
def shared_counted(shared_screen):
    adata = shared_screen.copy()
    spm.tl.train_predictor(adata, context="cell_line", net={**NET, "head": "nb"}, train=TRAIN)
    return adata


@pytest.fixture
def screen(shared_screen):
    """The screen, not trained on."""
    return shared_screen.copy()


@pytest.fixture
def trained(shared_trained):
    """The screen with a linear predictor of one context."""
    return shared_trained.copy()


@pytest.fixture
def counted(shared_counted):
    """The screen with a negative-binomial predictor of two contexts."""
    return shared_counted.copy()


@pytest.fixture
def train_tiny():
    def train(adata, **options):
        spm.tl.train_predictor(adata, **{"net": NET, "train": TRAIN, **options})

    return train


@pytest.fixture
def conditions_of():
    """Return the treated conditions on one side of the split, sorted."""

    def conditions(adata, side):
        chosen = (adata.obs["split"] == side) & ~adata.obs["is_control"]
        return sorted(adata.obs.loc[chosen, "perturbation"].astype(str).unique())

    return conditions


@pytest.fixture
def everything_in():
    """Return a comparable picture of all that an AnnData holds."""

    def picture(value):
        if hasattr(value, "items") and not hasattr(value, "iloc"):
            return {str(key): picture(one) for key, one in value.items() if key is not None}
        if hasattr(value, "toarray"):
            value = value.toarray()
        if hasattr(value, "iloc"):
            return value.to_csv(), str(value.dtypes.to_dict()) if value.ndim == 2 else str(value.dtype)
        if isinstance(value, np.ndarray):
            return value.dtype.str, value.shape, value.tobytes() if value.dtype != object else value.tolist()
        return value

    def everything(adata):
        slots = ("X", "obs", "var", "obsm", "varm", "layers", "uns")
        return {slot: picture(getattr(adata, slot)) for slot in slots}

    return everything
