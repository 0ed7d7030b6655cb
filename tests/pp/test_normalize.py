import warnings

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData, read_h5ad
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import scperturbmamba as spm

STORAGE = {"dense": np.asarray, "csr": sp.csr_matrix, "csc": sp.csc_matrix}


def screen(counts=None, storage=sp.csr_matrix):
    counts = np.random.default_rng(0).poisson(3, (20, 6)) if counts is None else counts
    adata = AnnData(storage(np.asarray(counts, dtype=np.float32)))
    adata.obs["umi"] = np.asarray(counts).sum(1) * 2.0 + 1
    return adata


def dense(matrix):
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)


def assert_same(adata, before):
    assert (list(adata.layers), list(adata.uns), list(adata.obs)) == (
        list(before.layers),
        list(before.uns),
        list(before.obs),
    )
    np.testing.assert_array_equal(dense(adata.X), dense(before.X))


@pytest.mark.parametrize("storage", STORAGE)
@settings(max_examples=30, deadline=None)
@given(arrays(np.int64, (5, 4), elements=st.integers(0, 3000)), st.sampled_from([1e4, 1e6, 1.0]))
def test_x_is_what_scanpy_makes(storage, counts, target_sum):
    adata, oracle = (screen(counts, STORAGE[storage]) for _ in range(2))
    spm.pp.normalize(adata, target_sum=target_sum)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.normalize_total(oracle, target_sum=target_sum)
    sc.pp.log1p(oracle)
    np.testing.assert_allclose(dense(adata.X), dense(oracle.X), rtol=1e-5, atol=1e-6)
    assert adata.X.dtype == np.float32
    assert sp.issparse(adata.X) == (storage != "dense")


def test_the_raw_counts_are_kept_as_they_were():
    counts = np.random.default_rng(1).poisson(2, (8, 3))
    adata = AnnData(sp.csr_matrix(counts))
    spm.pp.normalize(adata)
    np.testing.assert_array_equal(dense(adata.layers["counts"]), counts)
    adata.X.data[:] = -1
    np.testing.assert_array_equal(dense(adata.layers["counts"]), counts)


def test_the_counts_layer_shares_no_memory_with_its_source():
    adata = screen()
    adata.layers["umi"] = adata.X.copy()
    spm.pp.normalize(adata, layer="umi")
    adata.layers["umi"].data[:] = -1
    assert dense(adata.layers["counts"]).min() >= 0


def test_running_twice_changes_nothing(tmp_path):
    adata = screen()
    spm.pp.normalize(adata, library_size="umi")
    adata.write_h5ad(tmp_path / "screen.h5ad")
    for again in (adata.copy(), read_h5ad(tmp_path / "screen.h5ad")):
        spm.pp.normalize(again, library_size="umi")
        np.testing.assert_array_equal(dense(again.X), dense(adata.X))
        np.testing.assert_array_equal(dense(again.layers["counts"]), dense(adata.layers["counts"]))


@pytest.mark.parametrize("source", ["layers.counts", "raw.X", "X", "layers.umi"])
def test_the_source_of_the_counts_is_recorded(source):
    counts = np.random.default_rng(2).poisson(3, (6, 4)).astype(np.float32)
    adata = AnnData(counts if source == "X" else np.log1p(counts * 1.7))
    if source == "raw.X":
        adata.raw = AnnData(counts)
    if source.startswith("layers"):
        adata.layers[source.removeprefix("layers.")] = counts
    spm.pp.normalize(adata, layer="umi" if source == "layers.umi" else None)
    assert adata.uns["normalize"]["params"] == {"counts_source": source, "library_size": None, "target_sum": 1e4}
    np.testing.assert_array_equal(dense(adata.layers["counts"]), counts)


def test_a_library_size_over_the_whole_transcriptome_scales_the_panel():
    adata = screen()
    counts = dense(adata.X)
    spm.pp.normalize(adata, library_size="umi")
    np.testing.assert_allclose(dense(adata.X), np.log1p(counts / adata.obs["umi"].to_numpy()[:, None] * 1e4), rtol=1e-5)
    assert adata.uns["normalize"]["params"]["library_size"] == "umi"


def test_an_empty_cell_stays_zero():
    adata = screen(np.array([[0, 0], [1, 3]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spm.pp.normalize(adata)
    np.testing.assert_allclose(dense(adata.X), [[0, 0], np.log1p([2500, 7500])], rtol=1e-6)
    adata.obs["umi"] = [0, 8]
    spm.pp.normalize(adata, library_size="umi")
    assert (dense(adata.X)[0] == 0).all()


@pytest.mark.parametrize(
    "impossible",
    [
        np.nan,
        np.inf,
        0.0,
        -5.0,
        "many",
        1.0,
    ],
    ids=["nan", "infinite", "zero", "negative", "word", "less than measured"],
)
def test_an_impossible_library_size_is_refused_with_a_cell_that_has_it(impossible):
    adata = screen()
    adata.obs["umi"] = adata.obs["umi"].astype(object)
    adata.obs.loc["7", "umi"] = impossible
    before = adata.copy()
    with pytest.raises(ValueError, match=r"`obs\['umi'\]`.*1 cells.*'7'.*full transcriptome"):
        spm.pp.normalize(adata, library_size="umi")
    assert_same(adata, before)


LOGGED = np.log1p(np.random.default_rng(3).poisson(3, (4, 2)) / 7 * 1e4)


@pytest.mark.parametrize(
    ("x", "options", "error", "said"),
    [
        (LOGGED, {}, ValueError, "expected raw counts.*log-normalised"),
        ([[1, -2], [0, 3]], {}, ValueError, "negative values"),
        ([[1, 2.5], [30, 3]], {}, ValueError, "fractions"),
        ([[1, np.nan], [0, 3]], {}, ValueError, "`X` must be finite; found 1 NaN.*row 0"),
        ([[1, 2]], {"library_size": "um"}, KeyError, "library_size='um'.*Did you mean 'umi'"),
        ([[1, 2]], {"layer": "counts"}, KeyError, "'counts'"),
        ([[1, 2]], {"target_sum": 0}, ValueError, "`target_sum` must be a number above 0"),
        ([[1, 2]], {"target_sum": "1e4"}, ValueError, "`target_sum` must be a number above 0"),
    ],
)
def test_what_cannot_be_normalised_is_refused_and_nothing_is_changed(x, options, error, said):
    adata = screen(x, np.asarray)
    before = adata.copy()
    with pytest.raises(error, match=said):
        spm.pp.normalize(adata, **options)
    assert_same(adata, before)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_genes_that_occur_twice_are_refused_with_the_remedy():
    adata = screen()
    adata.var_names = ["A", "A", "B", "C", "D", "D"]
    before = adata.copy()
    with pytest.raises(ValueError, match=r"2 names.*\['A', 'D'\].*var_names_make_unique"):
        spm.pp.normalize(adata)
    assert_same(adata, before)


def test_unsorted_genes_keep_their_order():
    adata = screen()
    adata.var_names = ["Z", "A", "M", "B", "Y", "C"]
    spm.pp.normalize(adata)
    assert list(adata.var_names) == ["Z", "A", "M", "B", "Y", "C"]


def test_a_view_becomes_its_own_object_and_the_parent_is_left_alone():
    parent = screen()
    before = parent.copy()
    view = parent[:5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spm.pp.normalize(view)
    assert not view.is_view
    assert "counts" in view.layers
    assert_same(parent, before)


def test_a_backed_screen_is_refused_with_the_remedy(tmp_path):
    screen().write_h5ad(tmp_path / "screen.h5ad")
    backed = read_h5ad(tmp_path / "screen.h5ad", backed="r+")
    with pytest.raises(ValueError, match="backed by.*to_memory"):
        spm.pp.normalize(backed)
    backed.file.close()


@pytest.mark.data
def test_norman_with_its_library_size_equals_the_published_lognorm(shared_data):
    """Published by the total over the genes kept there, which is ``ncounts`` over ``unit_ratio`` (1.003 to 1.018)."""
    adata = read_h5ad(shared_data / "data" / "norman2019_k562_crispra.h5ad")
    spm.pp.normalize(adata, library_size="ncounts")
    np.testing.assert_allclose(dense(adata.X), dense(adata.layers["lognorm"]), atol=0.02)
    adata.obs["kept"] = adata.obs["ncounts"] / adata.obs["unit_ratio"]
    spm.pp.normalize(adata, library_size="kept")
    np.testing.assert_allclose(dense(adata.X), dense(adata.layers["lognorm"]), rtol=1e-5, atol=1e-6)
    assert adata.uns["normalize"]["params"]["counts_source"] == "layers.counts"


@pytest.mark.data
def test_norman_by_its_panel_total_is_something_else(shared_data):
    adata = read_h5ad(shared_data / "data" / "norman2019_k562_crispra.h5ad")
    spm.pp.normalize(adata)
    assert pd.Series(dense(adata.X)[dense(adata.layers["counts"]) > 0]).median() > 2 * np.median(
        adata.layers["lognorm"].data
    )
