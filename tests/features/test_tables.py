import numpy as np
import pandas as pd
import pytest

from scperturbmamba.features.tables import numeric_table, read_table, safe_columns

TABLE = pd.DataFrame({"gene_id": ["ENSG1", "ENSG2"], "essential": [0.5, -1.0], "n": [3, 4]}, index=["TP53", "MARCHF8"])


def test_numbers_are_looked_up_by_any_name_and_a_missing_gene_is_zero():
    table = numeric_table(["MARCH8", "KLF1", "TP53"], TABLE)
    assert list(table.columns) == ["essential", "n", "known"]
    assert table.to_numpy().tolist() == [[-1, 4, 1], [0, 0, 0], [0.5, 3, 1]]
    assert table.dtypes.eq(np.float32).all()


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.txt"])
def test_a_file_gives_what_its_table_gives(tmp_path, name):
    TABLE.rename_axis("gene").to_csv(tmp_path / name, sep="," if ".csv" in name else "\t")
    pd.testing.assert_frame_equal(numeric_table(["TP53", "X"], tmp_path / name), numeric_table(["TP53", "X"], TABLE))


def test_the_table_of_the_user_is_left_as_it_was():
    before = TABLE.copy()
    numeric_table(["TP53"], TABLE)
    pd.testing.assert_frame_equal(TABLE, before)


def test_without_names_in_the_index_the_first_column_of_words_holds_them():
    table = pd.DataFrame({"rank": [1, 2], "gene": ["TP53", "MYC"], "score": [0.5, 0.25]})
    assert numeric_table(["MYC"], table).loc["MYC"].tolist() == [2, 0.25, 1]
    with pytest.raises(ValueError, match="indexed by gene name"):
        numeric_table(["7"], pd.DataFrame({"a": [1.0]}, index=[7]))


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_a_row_without_a_name_is_no_gene(nothing):
    table = pd.DataFrame(
        {"gene": ["A", "B", "C", "D"], "score": [1.0, 2, 3, 4]}, index=["TP53", nothing, "MYC", nothing]
    )
    looked_up = [[1, 1], [0, 0], [3, 1]]
    assert numeric_table(["TP53", "KLF1", "MYC"], table).to_numpy().tolist() == looked_up
    by_column = table.drop(columns="gene").rename_axis("name").reset_index()
    assert numeric_table(["TP53", "KLF1", "MYC"], by_column).to_numpy().tolist() == looked_up


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"a": [1.0, 2.0]}, index=["TP53", "TP53"]), "several rows for .*TP53"),
        (pd.DataFrame({"a": ["x"]}, index=["TP53"]), "no column of numbers"),
        (pd.DataFrame({"a": [np.nan]}, index=["TP53"]), "finite"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        numeric_table(["TP53"], table)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.csv"):
        read_table(tmp_path / "table.xlsx")


def test_columns_are_made_fit_for_a_file():
    assert safe_columns(["A/B", "A_B", "known", "", 3]) == ["A_B", "A_B_2", "known_2", "column", "3"]
