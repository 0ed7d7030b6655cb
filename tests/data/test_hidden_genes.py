import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scperturbmamba.data.hidden_genes import expression_without, without_share
from scperturbmamba.pp import normalize

HIDDEN = np.array([False, True, False, False, True, False])
KEPT = ~HIDDEN


def screen(*, sparse=True, library=None):
    rng = np.random.default_rng(0)
    counts = rng.poisson(5, (8, 6)).astype(np.float32)
    adata = ad.AnnData(sp.csr_matrix(counts) if sparse else counts)
    adata.obs["umi"] = counts.sum(1) * 3.0
    normalize(adata, library_size=library)
    return adata, counts


@pytest.mark.parametrize("sparse", [True, False])
def test_a_panel_without_genes_is_as_if_they_had_never_been_sequenced(sparse):
    adata, counts = screen(sparse=sparse)
    never = ad.AnnData(counts[:, KEPT])
    normalize(never)
    np.testing.assert_allclose(expression_without(adata, HIDDEN, KEPT), never.X, rtol=1e-5)


def test_the_library_of_the_whole_transcriptome_loses_the_hidden_counts():
    adata, counts = screen(library="umi")
    left = counts.sum(1) * 3 - counts[:, HIDDEN].sum(1)
    expected = np.log1p(counts[:, KEPT] / left[:, None] * 1e4)
    np.testing.assert_allclose(expression_without(adata, HIDDEN, KEPT), expected, rtol=1e-5)


def test_without_counts_the_share_of_the_hidden_genes_is_given_back():
    adata, _ = screen()
    from_counts = expression_without(adata, HIDDEN, KEPT)
    del adata.layers["counts"]
    np.testing.assert_allclose(expression_without(adata, HIDDEN, KEPT), from_counts, rtol=1e-4)


def test_a_profile_is_no_cell_whose_counts_could_be_normalised():
    adata, _ = screen()
    adata.obs["n_cells"] = 7
    expected = without_share(adata.X.toarray(), HIDDEN, KEPT)
    np.testing.assert_allclose(expression_without(adata, HIDDEN, KEPT), expected)


def test_nothing_hidden_changes_nothing():
    adata, _ = screen()
    every = np.ones(6, dtype=bool)
    np.testing.assert_array_equal(expression_without(adata, ~every, every), adata.X.toarray())


def test_a_change_of_a_hidden_gene_is_not_seen_in_any_other():
    adata, counts = screen()
    counts[3, 1] *= 40  # a strong activation
    other = ad.AnnData(counts, obs=pd.DataFrame(index=adata.obs_names))
    normalize(other)
    np.testing.assert_allclose(
        expression_without(adata, HIDDEN, KEPT), expression_without(other, HIDDEN, KEPT), rtol=1e-5
    )
    assert not np.allclose(adata.X.toarray()[3, KEPT], np.asarray(other.X)[3, KEPT])
