import warnings

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData, read_h5ad

import scperturbmamba as spm


@pytest.fixture(scope="module")
def screen():
    adata = spm.datasets.toy(n_genes=80, n_singles=12, n_doubles=2, cells_per_condition=15, n_control=60)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata)
    return adata


@pytest.fixture
def adata(screen):
    return screen.copy()


def targets(adata):
    return {part for label in adata.uns["toy"]["effects"].index for part in label.split("+")}


def test_variable_genes_are_those_of_scanpy_on_the_training_cells(adata):
    spm.pp.select_genes(adata, n_top_genes=20)
    training = adata[adata.obs["split"] == "train"].copy()
    training.uns["log1p"] = {"base": None}
    sc.pp.highly_variable_genes(training, n_top_genes=20)
    assert (adata.var["highly_variable"] == training.var["highly_variable"]).all()
    assert adata.var["highly_variable"].sum() == 20


def test_the_cells_held_out_never_decide(adata):
    spm.pp.select_genes(adata, n_top_genes=20)
    chosen = adata.var["selected"].copy()
    held_out = (adata.obs["split"] != "train").to_numpy()
    x = adata.X.toarray()
    x[held_out] = np.random.default_rng(0).gamma(2, 5, x[held_out].shape)
    adata.X = sp.csr_matrix(x)
    spm.pp.select_genes(adata, n_top_genes=20)
    assert (adata.var["selected"] == chosen).all()


def test_measured_targets_are_marked_and_kept_unless_not_wanted(adata):
    spm.pp.select_genes(adata, n_top_genes=10)
    wanted = targets(adata) & set(adata.var_names)
    assert 0 < len(wanted) < len(targets(adata))
    assert set(adata.var_names[adata.var["is_target"]]) == wanted
    assert (adata.var["selected"] == (adata.var["is_target"] | adata.var["highly_variable"])).all()
    spm.pp.select_genes(adata, n_top_genes=10, keep_targets=False)
    assert (adata.var["selected"] == adata.var["highly_variable"]).all()


def test_more_genes_than_there_are_select_all(adata):
    spm.pp.select_genes(adata, n_top_genes=5000)
    assert adata.var["selected"].all()


def test_the_split_of_another_name_can_be_used(adata):
    adata.obs["fold"] = adata.obs["split"]
    del adata.obs["split"]
    spm.pp.select_genes(adata, n_top_genes=10, key="fold")
    with pytest.raises(KeyError, match="'split'.*spm.pp.split_conditions"):
        spm.pp.select_genes(adata, n_top_genes=10)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize(
    ("spoil", "options", "error", "said"),
    [
        (lambda a: None, {"n_top_genes": 0}, ValueError, "`n_top_genes` must be a number above 0"),
        (lambda a: a.obs.__delitem__("perturbation"), {}, KeyError, "spm.pp.perturbation_labels"),
        (lambda a: a.__setattr__("X", a.layers["counts"]), {}, ValueError, "raw counts.*spm.pp.normalize"),
        (lambda a: a.X.data.__setitem__(0, np.nan), {}, ValueError, "must be finite"),
        (lambda a: a.__setattr__("var_names", ["A", "A", *a.var_names[2:]]), {}, ValueError, "unique"),
    ],
)
def test_a_screen_that_is_not_ready_is_refused_and_nothing_is_changed(adata, spoil, options, error, said):
    spoil(adata)
    before = adata.var.copy()
    with pytest.raises(error, match=said):
        spm.pp.select_genes(adata, **options)
    pd.testing.assert_frame_equal(adata.var, before)


def test_a_view_becomes_its_own_object_and_the_parent_is_left_alone(adata):
    view = adata[: adata.n_obs - 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        spm.pp.select_genes(view, n_top_genes=10)
    assert "selected" in view.var
    assert "selected" not in adata.var


def test_a_backed_screen_is_refused_with_the_remedy(adata, tmp_path):
    adata.write_h5ad(tmp_path / "screen.h5ad")
    backed = read_h5ad(tmp_path / "screen.h5ad", backed="r+")
    with pytest.raises(ValueError, match="to_memory"):
        spm.pp.select_genes(backed)
    backed.file.close()


def test_an_empty_screen_is_sent_to_the_labels():
    with pytest.raises(KeyError, match="spm.pp.perturbation_labels"):
        spm.pp.select_genes(AnnData(np.zeros((2, 2))))
