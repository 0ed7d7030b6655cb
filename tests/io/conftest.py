"""A small screen with a split, and predictions of a network trained on it for a moment."""

import pytest
import torch

import scperturbmamba as spm

NET = {"core": None, "head": "nb", "width": 8, "head_width": 8, "state": 4, "layers": 1}


@pytest.fixture(scope="session")
def shared_screen():
    torch.set_num_threads(1)
    adata = spm.datasets.toy(n_genes=40, n_singles=14, n_doubles=4, n_outside=0, cells_per_condition=20, n_control=120)
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata, test_size=0.4)
    files = {"sets": adata.uns["toy"]["gene_sets"]}
    spm.tl.gene_features(adata, ["identity", "sets"], files=files, width={"identity": 6})
    return adata


@pytest.fixture(scope="session")
def shared_counted(shared_screen):
    adata = shared_screen.copy()
    spm.tl.train_predictor(adata, net=NET, train={"epochs": 8})
    return adata


@pytest.fixture(scope="session")
def shared_contexts(shared_screen):
    adata = shared_screen.copy()
    spm.tl.train_predictor(adata, context="cell_line", net=NET, train={"epochs": 2})
    return adata


@pytest.fixture
def screen(shared_screen):
    return shared_screen.copy()


@pytest.fixture
def counted(shared_counted):
    """The screen with a negative-binomial predictor of one context."""
    return shared_counted.copy()


@pytest.fixture
def contexts(shared_contexts):
    """The screen with a negative-binomial predictor of two contexts."""
    return shared_contexts.copy()


@pytest.fixture
def held_out():
    """Return the treated conditions on one side of the split, sorted."""

    def conditions(adata, side="test"):
        chosen = (adata.obs["split"] == side) & ~adata.obs["is_control"]
        return sorted(adata.obs.loc[chosen, "perturbation"].astype(str).unique())

    return conditions


@pytest.fixture
def singles(held_out):
    """Return the held-out conditions of one gene."""
    return lambda adata: [name for name in held_out(adata) if "+" not in name]
