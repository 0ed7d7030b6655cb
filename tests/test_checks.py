import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData, read_h5ad

from scperturbmamba import _checks


@pytest.fixture
def adata():
    adata = AnnData(np.array([[0.5, 1.5], [0.0, 2.5]]), obs=pd.DataFrame({"batch": ["a", "b"]}, index=["x", "y"]))
    adata.layers["counts"] = np.ones((2, 2))
    return adata


@pytest.mark.parametrize("slot", ["obs", "var", "obsm", "varm", "uns", "layers"])
def test_a_missing_slot_is_refused_with_the_call_that_makes_it(adata, slot):
    with pytest.raises(KeyError, match=f"`adata.{slot}` has no 'split'. Run `spm.pp.split_conditions` first. Found: "):
        _checks.check_key(adata, slot, "split", made_by="spm.pp.split_conditions")


def test_a_slot_that_is_there_passes(adata):
    _checks.check_key(adata, "layers", "counts", made_by="x")
    _checks.check_column(adata, "batch", argument="context")


@pytest.mark.parametrize(("column", "said"), [("bacth", "Did you mean 'batch'"), ("zzz", r"Found: \['batch'\]")])
def test_a_missing_column_is_refused_with_the_nearest_name(adata, column, said):
    with pytest.raises(KeyError, match=said):
        _checks.check_column(adata, column, argument="context")


def test_a_word_must_be_among_the_choices():
    _checks.check_choice("a", ["a", "b"], "mode")
    with pytest.raises(ValueError, match=r"`mode` must be one of \['a', 'b'\]; found 'c'"):
        _checks.check_choice("c", ("a", "b"), "mode")


@pytest.mark.parametrize("value", [0.2, 1e-9, 1 - 1e-9, np.float32(0.5), np.float64(0.5)])
def test_a_share_between_0_and_1_passes(value):
    _checks.check_fraction(value, "share")


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.1, True, "0.5", None, np.nan, [0.5]])
def test_anything_else_is_no_share(value):
    with pytest.raises(ValueError, match="`share` must be a number between 0 and 1"):
        _checks.check_fraction(value, "share")


@pytest.mark.parametrize("value", [1, 0.1, np.int64(3), np.float32(2), np.inf])
def test_a_number_above_zero_passes(value):
    _checks.check_positive(value, "n")


@pytest.mark.parametrize("value", [0, -1, True, "3", None, np.nan])
def test_anything_else_is_not_positive(value):
    with pytest.raises(ValueError, match="`n` must be a number above 0"):
        _checks.check_positive(value, "n")


@pytest.mark.parametrize("storage", [np.asarray, sp.csr_matrix, sp.csc_matrix], ids=["dense", "csr", "csc"])
def test_the_first_row_that_is_not_finite_is_named(storage):
    values = np.ones((5, 3))
    _checks.check_finite(storage(values), what="x")
    values[3, 0] = values[2, 2] = values[4, 1] = np.nan
    with pytest.raises(ValueError, match="x must be finite; found 3 NaN or infinite entries, the first in row 2"):
        _checks.check_finite(storage(values), what="x")


def test_a_vector_and_whole_numbers_can_be_checked_too():
    _checks.check_finite(np.arange(3), what="x")
    with pytest.raises(ValueError, match="row 1"):
        _checks.check_finite(np.array([0.0, np.inf]), what="x")


def test_log_normalised_data_pass_and_counts_do_not(adata):
    _checks.check_log_normalised(adata)
    adata.X = sp.csr_matrix(adata.X)
    _checks.check_log_normalised(adata)
    adata.X = adata.X.toarray() - 1.7
    _checks.check_log_normalised(adata)
    for matrix, said in ((np.array([[3, 0], [1, 2]]), "whole numbers"), (None, "empty")):
        adata.X = matrix
        with pytest.raises(ValueError, match=f"{said}.*spm.pp.normalize"):
            _checks.check_log_normalised(adata)


def test_names_that_occur_twice_are_shown(adata):
    _checks.check_unique_genes(adata)
    adata.var_names = ["A", "A"]
    with pytest.raises(ValueError, match=r"1 names occur more than once, such as \['A'\]"):
        _checks.check_unique_genes(adata)


def test_a_backed_file_is_refused_by_name(adata, tmp_path):
    _checks.check_in_memory(adata, function="f")
    adata.write_h5ad(tmp_path / "screen.h5ad")
    backed = read_h5ad(tmp_path / "screen.h5ad", backed="r")
    with pytest.raises(ValueError, match="`f` works in memory.*screen.h5ad.*to_memory"):
        _checks.check_in_memory(backed, function="f")
    backed.file.close()


def test_parameters_become_plain_values_that_survive_a_file(adata, tmp_path):
    given = {"a": 1, "b": 0.5, "c": True, "d": None, "e": "x", "f": ["x", "y"], "g": np.int64(3), "h": np.float32(0.5)}
    params = _checks.check_params({**given, "i": np.bool_(True)})
    assert json.loads(json.dumps(params)) == params
    assert [type(params[name]) for name in "ghi"] == [int, float, bool]
    adata.uns["x"] = params
    adata.write_h5ad(tmp_path / "screen.h5ad")
    back = read_h5ad(tmp_path / "screen.h5ad").uns["x"]
    assert {name: np.asarray(value).tolist() for name, value in back.items()} == params


@pytest.mark.parametrize(
    "params", [{"a/b": 1}, {1: "a"}, {"a": (1, 2)}, {"a": {"b": 1}}, {"a": [1, 2]}, {"a": np.zeros(2)}, {"a": object()}]
)
def test_parameters_that_would_not_survive_are_refused(params):
    with pytest.raises(TypeError, match="must be"):
        _checks.check_params(params)


def test_a_missing_package_is_refused_with_the_pip_line():
    assert _checks.optional_import("json", extra="x", purpose="y") is json
    with pytest.raises(ImportError, match=r"drawing needs the package 'no_such_module'.*scperturbmamba\[draw\]"):
        _checks.optional_import("no_such_module", extra="draw", purpose="drawing")


def test_one_name_or_several_are_a_list():
    assert _checks.as_names("TP53") == ["TP53"]
    assert _checks.as_names(("TP53", "MYC")) == ["TP53", "MYC"]


def test_a_hint_is_given_only_where_it_helps():
    assert _checks.did_you_mean("x", []) == " There are none."
    assert _checks.did_you_mean("TP35", ["TP53", "MYC"]) == " Did you mean 'TP53'?"
    assert len(_checks.did_you_mean("zz", [f"gene{n}" for n in range(100)])) < 300
