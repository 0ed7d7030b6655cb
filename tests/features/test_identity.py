import hashlib

import numpy as np
import pytest
from scipy import stats

from scperturbmamba.features.identity import identity_table

PINNED = [0.7033, -0.9849, 1.1066]
CHECKSUM = "9c0481352b07106d"


def test_codes_are_the_same_on_every_machine():
    table = identity_table(["TP53", "MYC", "MARCHF8"], 16)
    rounded = np.round(table.to_numpy(np.float64), 4)
    assert rounded[0, :3].tolist() == PINNED
    assert hashlib.sha256(rounded.tobytes()).hexdigest()[:16] == CHECKSUM


def test_a_code_depends_on_nothing_but_the_gene():
    alone = identity_table(["TP53"]).iloc[0]
    among = identity_table(["MYC", "TP53", "KLF1"]).loc["TP53"]
    np.testing.assert_array_equal(alone, among)


@pytest.mark.parametrize(
    ("a", "b"), [("tp53", "TP53"), ("MARCH8", "MARCHF8"), ("ENSG00000141510.1", "ENSG00000141510.18")]
)
def test_all_names_of_a_gene_have_one_code(a, b):
    table = identity_table([a, b])
    np.testing.assert_array_equal(table.iloc[0], table.iloc[1])


def test_a_narrow_code_is_the_start_of_a_wide_one():
    np.testing.assert_array_equal(identity_table(["KLF1"], 4), identity_table(["KLF1"], 32).iloc[:, :4])


def test_codes_of_many_genes_are_independent_standard_normal_numbers():
    values = identity_table([f"GENE{number}" for number in range(4000)], 8).to_numpy(np.float64)
    assert identity_table(["A"]).dtypes.eq(np.float32).all()
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(values.T) - np.eye(8)).max() < 0.08
    assert len(np.unique(values, axis=0)) == 4000
