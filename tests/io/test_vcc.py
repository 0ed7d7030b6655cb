import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import scperturbmamba as spm
from scperturbmamba.io import _vcc_rules

pytestmark = pytest.mark.filterwarnings("ignore:nothing is known of")  # a gene in no set


@pytest.fixture
def cells(counted, singles):
    """Six cells of two perturbations, and of the control."""
    return spm.tl.predict(counted, [*singles(counted)[:2], "control"], n_cells=6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "upload.h5ad"


def write(predicted, path, **options):
    spm.io.write_vcc(predicted, path, **{"n_cells": 6, "context": "K562", **options})
    return ad.read_h5ad(path)


def test_the_file_holds_what_the_rules_ask_for_and_nothing_else(cells, path):
    upload = write(cells, path)
    assert list(upload.obs) == ["target_gene", "context"] and not len(upload.var.columns)
    assert set(upload.obs["target_gene"]) == set(cells.obs["perturbation"]) - {"control"}
    assert (upload.obs["target_gene"].value_counts() == 6).all() and set(upload.obs["context"]) == {"K562"}
    assert sp.isspmatrix_csr(upload.X) and (upload.X.data > 0).all() and (upload.X.data == np.rint(upload.X.data)).all()
    assert upload.X.has_canonical_format
    assert not upload.uns and not list(upload.obsm) and upload.raw is None
    np.testing.assert_array_equal(upload.X.toarray(), cells[upload.obs_names].X)
    assert [one.name for one in path.parent.iterdir()] == ["upload.h5ad"]


@pytest.mark.parametrize("form", ["list", "file"])
def test_genes_and_perturbations_come_in_the_order_that_was_asked_for(cells, path, form, tmp_path):
    genes = [cells.var_names[place] for place in (7, 3, 20)]
    wanted = sorted(set(cells.obs["perturbation"]) - {"control"}, reverse=True)
    asked = {"genes": genes, "perturbations": wanted}
    if form == "file":
        asked = {"genes": tmp_path / "genes.txt", "perturbations": tmp_path / "list.csv"}
        asked["genes"].write_text("\n".join(genes))
        asked["perturbations"].write_text("target_gene,n_cells\n" + "\n".join(f"{name},400" for name in wanted))
    upload = write(cells, path, **asked)
    assert list(upload.var_names) == genes
    assert list(upload.obs["target_gene"].unique()) == wanted
    np.testing.assert_array_equal(upload.X.toarray(), cells[upload.obs_names, genes].X)


def test_contexts_of_the_training_are_written_one_after_the_other(contexts, singles, path):
    cells = spm.tl.predict(contexts, singles(contexts)[:2], n_cells=6)
    upload = write(cells, path, context=None)
    assert list(upload.obs["context"]) == ["line_A"] * 12 + ["line_B"] * 12
    with pytest.raises(ValueError, match="`context='K562'` names one context"):
        write(cells, path.with_name("other.h5ad"))


def test_sparse_counts_with_stored_zeros_are_cleaned(cells, path):
    dense = cells.X.copy()
    cells.X = sp.csc_matrix(np.ones_like(dense))
    cells.X.data[:] = dense.T.ravel()
    assert cells.X.nnz == dense.size
    upload = write(cells, path)
    assert upload.X.nnz == np.count_nonzero(cells[upload.obs_names].X.toarray())


def refused(predicted, path, message, error=ValueError, **options):
    with pytest.raises(error, match=message):
        write(predicted, path, **options)
    assert not path.exists() and not (path.parent.exists() and list(path.parent.iterdir()))


def test_profiles_and_what_is_no_count_are_refused(counted, singles, cells, path):
    refused(spm.tl.predict(counted, singles(counted)), path, r"n_cells=6\)`, with a predictor trained with `net=")
    cells.X[0, 0] = -1
    refused(cells, path, "expected cells of raw counts")


def test_another_number_of_cells_is_refused(cells, path):
    name = cells.obs["perturbation"].iloc[0]
    refused(cells, path, f"exactly 400 cells .* found 6 of '{name}' in 'K562'", n_cells=400)
    refused(cells[1:].copy(), path, f"exactly 6 cells .* found 5 of '{name}'")


def test_perturbations_that_are_not_there_or_not_of_one_gene_are_refused(counted, held_out, cells, path):
    refused(cells, path, "1 perturbations asked for are not predicted, such as .'TP53XX'", perturbations=["TP53XX"])
    refused(
        cells, path, r"no control cells; `perturbations` names \['non-targeting'\]", perturbations=["non-targeting"]
    )
    double = next(name for name in counted.obs["perturbation"].cat.categories if "+" in name)
    one = cells.obs["perturbation"].iloc[0]
    both = spm.tl.predict(counted, [one, double], n_cells=6)
    refused(both, path, f"perturbations of one gene; found .'{double.replace('+', '[+]')}'")
    assert set(write(both, path, perturbations=[one]).obs["target_gene"]) == {one}


def test_only_controls_no_context_or_no_such_genes_are_refused(cells, path):
    refused(cells[cells.obs["perturbation"] == "control"].copy(), path, "found none but controls")
    refused(cells, path, "the upload names the context", context=None)
    refused(cells, path, "1 of the 2 genes to upload are not predicted", genes=["NOSUCH", cells.var_names[0]])
    refused(cells, path, "must list names, each once", genes=["A", "A"])


def test_limits_of_a_cell_and_of_the_file(cells, path, monkeypatch):
    cells.X[3, 0] = 2_000_000
    refused(cells, path, f"a cell may hold 1,000,000 counts; found 2,000,.* in '{cells.obs_names[3]}'")
    cells.X[3, 0] = 2
    monkeypatch.setattr(_vcc_rules, "MOST_ENTRIES", 10)
    refused(cells, path, "an upload may store 10 entries")


def test_the_file_is_whole_or_not_there(cells, path, monkeypatch):
    def fail(self, filename, **options):
        filename.write_text("half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(ad.AnnData, "write_h5ad", fail)
        refused(cells, path, "disk full", error=OSError)
    write(cells, path)
    with pytest.raises(FileExistsError, match="there already"):
        write(cells, path)
    refused(cells, path.with_name("new") / "upload.csv", "must end in '.h5ad'")
