import gzip

import numpy as np
import pytest

from scperturbmamba.features.gene_sets import membership, read_gene_sets, read_gmt

GMT = "SET_A\thttp://a\tTP53\tMYC\t\nSET_B\t\tMARCHF8\n\n"


@pytest.mark.parametrize("name", ["sets.gmt", "sets.gmt.gz"])
def test_a_gmt_is_read_line_by_line(tmp_path, name):
    opened = gzip.open if name.endswith("gz") else open
    with opened(tmp_path / name, "wt") as file:
        file.write(GMT)
    assert read_gmt(tmp_path / name) == {"SET_A": ["TP53", "MYC"], "SET_B": ["MARCHF8"]}


def test_a_file_that_is_no_gmt_is_refused_with_its_line(tmp_path):
    (tmp_path / "sets.gmt").write_text("SET_A\tx\tTP53\nTP53,MYC\n")
    with pytest.raises(ValueError, match="line 2"):
        read_gmt(tmp_path / "sets.gmt")


def test_gene_sets_must_hold_lists_and_some_gene():
    with pytest.raises(TypeError, match="'A' must be a list"):
        read_gene_sets({"A": "TP53"})
    with pytest.raises(ValueError, match="found none"):
        read_gene_sets({"A": []})


def test_membership_is_one_exactly_for_the_members_by_any_name():
    table = membership(["MYC", "MARCH8", "KLF1"], {"A": ["TP53", "MYC"], "B/C": ["MARCHF8", "MYC"]})
    assert list(table.columns) == ["A", "B_C", "known"]
    assert table.to_numpy().tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 0]]
    assert table.dtypes.eq(np.float32).all()


def test_a_set_without_a_listed_gene_keeps_its_column():
    assert membership(["MYC"], {"A": ["MYC"], "B": []})["B"].tolist() == [0]


@pytest.mark.data
def test_hallmark_has_fifty_sets_and_p53_is_in_its_own(shared_data):
    sets = read_gmt(shared_data / "knowledge" / "hallmark.gmt")
    table = membership(["TP53", "CDKN1A"], sets)
    assert len(sets) == 50
    assert table["HALLMARK_P53_PATHWAY"].tolist() == [1, 1]
    assert table.loc["CDKN1A"].drop("known").sum() == sum("CDKN1A" in genes for genes in sets.values())
