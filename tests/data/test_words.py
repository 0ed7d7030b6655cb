import numpy as np
import pandas as pd
import pytest

from scperturbmamba.data.words import words_of


@pytest.mark.parametrize("dtype", [None, object, "category", "string"])
@pytest.mark.parametrize("nothing", [None, np.nan, pd.NA])
def test_a_missing_word_is_the_one_asked_for_in_every_storage(dtype, nothing):
    values = pd.Series(["A", nothing, "nan"], dtype=dtype, index=["x", "x", "y"])
    assert words_of(values).tolist() == ["A", "", "nan"]
    assert words_of(values, missing="none").tolist() == ["A", "none", "nan"]
    assert list(words_of(values).index) == ["x", "x", "y"]


def test_numbers_become_words_and_missing_ones_do_not():
    assert words_of(pd.Series([1, 2])).tolist() == ["1", "2"]
    assert words_of(pd.Series([1.0, np.nan])).tolist() == ["1.0", ""]
    assert words_of(pd.Series([np.nan, np.nan])).tolist() == ["", ""]
    assert words_of(pd.Series([], dtype=float)).tolist() == []
