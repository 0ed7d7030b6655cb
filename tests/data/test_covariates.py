import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scperturbmamba.data.covariates import read_covariates

ROW = np.array([0, 0, 1, 1, -1, -1, -1])
CONTROL = np.array([-1, -1, -1, -1, 0, 0, -1])  # the last cell is of neither: a test cell


def screen(**columns):
    return AnnData(np.zeros((7, 1)), obs=pd.DataFrame(columns, index=[f"c{number}" for number in range(7)]))


def test_numbers_are_averaged_in_log_and_standardised_over_the_rows():
    depth = np.array([1.0, 3.0, 7.0, 9.0, 100.0, 200.0, 5.0])
    found = read_covariates(screen(depth=depth), ["depth"], ROW, CONTROL, 2)
    rows = np.log1p(depth)[:4].reshape(2, 2).mean(1)
    assert found.names == ("depth",)
    np.testing.assert_allclose(found.rows[:, 0], (rows - rows.mean()) / rows.std(), rtol=1e-5)
    wanted = (np.log1p(depth)[4:6].mean() - rows.mean()) / rows.std()
    np.testing.assert_allclose(found.control, [wanted], rtol=1e-5)


def test_signed_numbers_are_taken_as_they_are():
    score = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    found = read_covariates(screen(score=score), ["score"], ROW, CONTROL, 2)
    np.testing.assert_allclose(found.rows[:, 0], [-1, 1])


def test_words_become_shares_per_level():
    found = read_covariates(screen(batch=list("aabbaba")), ["batch"], ROW, CONTROL, 2)
    assert found.names == ("batch=a", "batch=b")
    np.testing.assert_allclose(found.rows, [[1, -1], [-1, 1]])
    np.testing.assert_allclose(found.control, [0, 0], atol=1e-6)


def test_a_covariate_that_does_not_vary_over_rows_is_zero():
    found = read_covariates(screen(lane=["a"] * 7), ["lane"], ROW, CONTROL, 2)
    assert not found.rows.any()


def test_test_cells_are_never_looked_at():
    known = read_covariates(screen(depth=np.arange(7.0), batch=list("aabbaba")), ["depth", "batch"], ROW, CONTROL, 2)
    depth = np.array([0, 1, 2, 3, 4, 5, -9.0])
    strange = read_covariates(screen(depth=depth, batch=list("aabbabz")), ["depth", "batch"], ROW, CONTROL, 2)
    missing = read_covariates(
        screen(depth=[*range(6), np.nan], batch=[*"aabbab", None]), ["depth", "batch"], ROW, CONTROL, 2
    )
    for other in (strange, missing):
        assert other.names == known.names
        np.testing.assert_array_equal(other.rows, known.rows)
        np.testing.assert_array_equal(other.control, known.control)


def test_no_covariates_give_no_columns():
    found = read_covariates(screen(), [], ROW, CONTROL, 2)
    assert found.rows.shape == (2, 0)
    assert found.control.shape == (0,)


@pytest.mark.parametrize(
    "column", [[np.nan, 1, 2, 3, 4, 5, 6], [None, "a", "a", "b", "b", "a", "a"]], ids=["number", "word"]
)
def test_a_missing_value_in_a_cell_that_counts_is_refused_by_the_name_of_the_column(column):
    with pytest.raises(ValueError, match=r"\['depth'\] hold NaN"):
        read_covariates(screen(depth=column), ["depth"], ROW, CONTROL, 2)


def test_an_unknown_column_is_refused():
    with pytest.raises(KeyError, match="covariates='dept'.*Did you mean 'depth'"):
        read_covariates(screen(depth=np.arange(7)), ["dept"], ROW, CONTROL, 2)
