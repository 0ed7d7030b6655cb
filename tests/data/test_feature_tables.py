import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scperturbmamba.data.feature_tables import feature_sources, gene_sources, read_features

GENES = ["A", "B", "C"]


@pytest.fixture
def adata():
    adata = AnnData(np.zeros((2, 3)), var=pd.DataFrame(index=GENES))
    adata.varm["gene_identity"] = pd.DataFrame({"x": [1.0, 2, 3], "y": [4.0, 5, 6]}, index=GENES)
    outside = pd.DataFrame({"y": [8.0], "x": [7.0]}, index=["OUTSIDE"])
    adata.uns["gene_identity"] = {"targets": outside, "provenance": "abc"}
    adata.varm["gene_other"] = np.zeros((3, 2))  # the user's own
    return adata


def test_measured_genes_come_before_those_outside_and_columns_are_matched_by_name(adata):
    (table,) = read_features(adata, ["identity"])
    assert (table.source, table.provenance) == ("identity", "abc")
    assert table.names == ("A", "B", "C", "OUTSIDE")
    assert table.columns == ("x", "y")
    np.testing.assert_array_equal(table.values, [[1, 4], [2, 5], [3, 6], [7, 8]])


def test_modelled_genes_come_first_and_the_other_measured_genes_keep_their_features(adata):
    (table,) = read_features(adata, None, np.array([False, True, True]))
    assert table.names == ("B", "C", "A", "OUTSIDE")
    np.testing.assert_array_equal(table.values[:, 0], [2, 3, 1, 7])


def test_only_tables_that_we_wrote_are_sources(adata):
    assert feature_sources(adata) == ["identity"]


def test_a_source_that_is_not_there_is_refused_with_the_call_that_makes_it(adata):
    with pytest.raises(KeyError, match=r"spm.tl.gene_features\(adata, \[.*position"):
        read_features(adata, ["position"])


def test_tables_survive_a_file(adata, tmp_path):
    from anndata import read_h5ad

    adata.write_h5ad(tmp_path / "screen.h5ad")
    (before,), (after,) = read_features(adata, None), read_features(read_h5ad(tmp_path / "screen.h5ad"), None)
    assert before.names == after.names
    assert before.provenance == after.provenance
    np.testing.assert_array_equal(before.values, after.values)


def drug_table(**more):
    record = {"drugs": np.array(["b", "a"], object), "columns": np.array(["x", "known"], object)}
    record |= {"values": np.array([[2, 1], [0, 0]], np.float32), "provenance": "def", "params": {"scaled": False}}
    return {**record, **more}


def test_tables_of_drugs_are_sources_too_and_hold_no_genes(adata):
    adata.uns["drug_fingerprint"] = drug_table()
    adata.uns["drug_smiles"] = {"drugs": np.array(["b"], object), "smiles": np.array(["CC"], object)}
    adata.uns["drug_screen_notes"] = "the user's own"
    assert feature_sources(adata) == ["identity", "drug_fingerprint"]
    assert gene_sources(adata) == ["identity"]
    genes, drugs = read_features(adata, None, np.array([False, True, True]))
    assert genes.scaled and not drugs.scaled
    assert (drugs.source, drugs.names, drugs.columns) == ("drug_fingerprint", ("b", "a"), ("x", "known"))
    assert drugs.provenance == "def"
    np.testing.assert_array_equal(drugs.values, [[2, 1], [0, 0]])


def test_a_table_of_drugs_that_is_not_there_is_refused_with_the_call_that_makes_it(adata):
    with pytest.raises(KeyError, match=r"spm.tl.drug_features\(adata, \[.*descriptors"):
        read_features(adata, ["drug_descriptors"])
