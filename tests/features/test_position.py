import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scperturbmamba.features.genome import LENGTHS, UNKNOWN
from scperturbmamba.features.position import fourier, position_table, relative_locus


def test_the_locus_is_start_over_chromosome_length():
    locus = relative_locus(["A", "B"], np.array([0, 23]), np.array([248956422 / 4, 57227415]))
    np.testing.assert_allclose(locus, [0.25, 1.0])


def test_a_start_beyond_its_chromosome_names_the_gene_and_the_build():
    with pytest.raises(ValueError, match=r"'LATE'.*chromosome 21.*46709983.*genome build"):
        relative_locus(["EARLY", "LATE"], np.array([20, 20]), np.array([5.0, 46709984.0]))
    with pytest.raises(ValueError, match="'NEGATIVE'"):
        relative_locus(["NEGATIVE"], np.array([0]), np.array([-1.0]))


def test_waves_are_sines_and_cosines_of_doubling_frequency():
    locus = np.array([0.0, 0.125, 0.7])
    expected = [[f(2 * np.pi * 2**k * x) for k in range(3) for f in (np.sin, np.cos)] for x in locus]
    np.testing.assert_allclose(fourier(locus, 3), expected, atol=1e-12)


def test_a_gene_without_a_place_is_zero_but_for_its_code():
    table = position_table(["A", "B"], np.array([3, UNKNOWN]), np.array([1e6, 0.0]), n_frequencies=2)
    assert list(table.columns) == ["chromosome", "locus", "sin_0", "cos_0", "sin_1", "cos_1", "known"]
    assert table.loc["B"].tolist() == [24, 0, 0, 0, 0, 0, 0]
    assert table.loc["A", "known"] == 1 and table.loc["A", "cos_0"] > 0.99
    assert table.dtypes.eq(np.float32).all()


@given(st.integers(0, 23), st.floats(0, 1))
def test_every_place_on_a_chromosome_has_a_locus_within_it(code, share):
    start = np.floor(share * LENGTHS[code])
    locus = relative_locus(["A"], np.array([code]), np.array([start]))
    assert 0 <= locus[0] <= 1
