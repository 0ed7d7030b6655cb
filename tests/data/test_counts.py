import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData, read_h5ad

from scperturbmamba.data.counts import find_counts

COUNTS = np.array([[0, 2, 1], [3, 0, 0], [1, 1, 7]])
LOGGED = np.log1p(COUNTS / COUNTS.sum(1, keepdims=True) * 1e4).astype(np.float32)


def screen(x, *, counts=None, raw=None):
    adata = AnnData(x)
    adata.var_names = ["A", "B", "C"]
    if counts is not None:
        adata.layers["counts"] = counts
    if raw is not None:
        adata.raw = AnnData(raw, var=adata.var)
    return adata


def dense(matrix):
    return matrix.toarray() if sp.issparse(matrix) else matrix


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_matrix, sp.csr_array], ids=lambda one: one.__name__)
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16, np.float32, np.float64])
def test_whole_numbers_in_any_dtype_and_storage_are_counts(kind, dtype):
    found = find_counts(screen(kind(COUNTS.astype(dtype))))
    assert found.source == "X"
    np.testing.assert_array_equal(dense(found.matrix), COUNTS)


def test_the_counts_layer_comes_before_raw_and_raw_before_x():
    layer, raw, x = COUNTS + 1, COUNTS + 2, COUNTS + 3
    found = find_counts(screen(x, counts=layer, raw=raw))
    assert found.source == "layers.counts"
    np.testing.assert_array_equal(found.matrix, layer)
    found = find_counts(screen(x, raw=raw))
    assert found.source == "raw.X"
    np.testing.assert_array_equal(dense(found.matrix), raw)
    assert find_counts(screen(x)).source == "X"


def test_a_place_that_holds_no_counts_is_passed_over():
    assert find_counts(screen(COUNTS, counts=LOGGED, raw=LOGGED)).source == "X"
    assert find_counts(screen(LOGGED, counts=LOGGED, raw=COUNTS)).source == "raw.X"


def test_raw_is_cut_to_the_genes_at_hand_in_their_order():
    adata = screen(LOGGED, raw=COUNTS)[:, ["C", "A"]]
    np.testing.assert_array_equal(dense(find_counts(adata).matrix), COUNTS[:, [2, 0]])


def test_raw_without_the_genes_at_hand_is_passed_over():
    adata = screen(COUNTS, raw=COUNTS + 1)
    adata.var_names = ["A", "B", "D"]
    assert find_counts(adata).source == "X"


def test_a_layer_asked_for_by_name_is_the_only_candidate():
    adata = screen(COUNTS)
    adata.layers["umi"] = COUNTS + 5
    assert find_counts(adata, layer="umi").source == "layers.umi"
    adata.layers["umi"] = LOGGED
    with pytest.raises(ValueError, match="layers.umi.*fractions"):
        find_counts(adata, layer="umi")
    with pytest.raises(KeyError, match="'spliced'.*Found: \\['umi'\\]"):
        find_counts(adata, layer="spliced")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_log_data_are_refused_with_the_reason_and_the_remedy(kind):
    with pytest.raises(ValueError, match=r"`X` holds fractions, as log-normalised data do.*layers\[.counts.\]"):
        find_counts(screen(kind(LOGGED)))


def test_the_reason_of_every_candidate_is_told():
    with pytest.raises(
        ValueError, match="`layers.counts` holds negative.*`raw.X` holds fractions.*`X` holds fractions"
    ):
        find_counts(screen(LOGGED, counts=COUNTS - 3, raw=LOGGED))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (COUNTS - 1, r"negative values \(lowest -1\)"),
        (COUNTS - 1.0, r"negative values \(lowest -1\)"),
        (COUNTS * 100 + 0.5, "holds fractions"),
        (COUNTS > 0, "dtype bool"),
    ],
)
def test_negative_fractional_and_boolean_data_are_refused(x, said):
    with pytest.raises(ValueError, match=said):
        find_counts(screen(x))


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_with_their_place(kind, bad):
    x = COUNTS.astype(float)
    x[1, 2] = bad
    with pytest.raises(ValueError, match="`layers.counts` must be finite; found 1.*row 1"):
        find_counts(screen(COUNTS, counts=kind(x)))


def test_an_empty_x_is_refused():
    adata = screen(COUNTS)
    adata.X = None
    with pytest.raises(ValueError, match="`X` is empty"):
        find_counts(adata)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_counts_of_a_backed_file_are_read(tmp_path, kind):
    screen(kind(COUNTS)).write_h5ad(tmp_path / "screen.h5ad")
    backed = read_h5ad(tmp_path / "screen.h5ad", backed="r")
    np.testing.assert_array_equal(dense(find_counts(backed).matrix), COUNTS)
    backed.file.close()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "source"), [("norman2019_k562_crispra", "layers.counts"), ("papalexi2021_thp1_crisprko", "X")]
)
def test_the_public_screens_hold_counts_where_they_say(shared_data, name, source):
    adata = read_h5ad(shared_data / "data" / f"{name}.h5ad")
    assert find_counts(adata).source == source


@pytest.mark.data
@pytest.mark.parametrize("name", ["tggates_human_hepatocyte_dose", "morphic_bulk_ko_lfc"])
def test_arrays_and_fold_changes_are_no_counts(shared_data, name):
    with pytest.raises(ValueError, match="fractions|negative|finite"):
        find_counts(read_h5ad(shared_data / "data" / f"{name}.h5ad"))
