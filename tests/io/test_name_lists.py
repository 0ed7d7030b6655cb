import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scperturbmamba.io._name_lists import read_names

symbol = st.from_regex(r"[A-Z][A-Z0-9\-\.]{1,8}", fullmatch=True).filter(
    lambda name: name.casefold() not in ("gene", "genes", "symbol")
)
symbols = st.lists(symbol, min_size=1, max_size=20, unique=True)


@given(symbols, st.sampled_from(["", "gene_name", "target_gene"]), st.sampled_from(["list", ".txt", ".csv", ".tsv"]))
def test_a_list_comes_back_from_any_form(tmp_path_factory, names, header, form):
    if form == "list":
        assert read_names(names, "genes") == names
        return
    path = tmp_path_factory.mktemp("names") / f"names{form}"
    rows = [[header], *([name] for name in names)] if header else [[name] for name in names]
    if form == ".txt":
        path.write_text("\n".join(row[0] for row in rows) + "\n\n")
    else:
        with path.open("w", newline="") as file:
            marked = csv.writer(file, delimiter={".csv": ",", ".tsv": "\t"}[form])
            marked.writerows([*row, 400, "more"] for row in rows)
    assert read_names(path, "genes") == read_names(str(path), "genes") == names


def test_what_is_no_list_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"genes=\['TP53'\]"):
        read_names("TP53", "genes")
    with pytest.raises(ValueError, match=r"1 names more than once, such as \['A'\]"):
        read_names(["A", "B", "A"], "genes")
    empty = tmp_path / "empty.txt"
    empty.write_text("gene\n")
    with pytest.raises(ValueError, match="found none"):
        read_names(empty, "genes")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "names.csv"
    path.write_bytes("\ufefftarget_gene,n_cells\r\nTP53,400\r\nMYC,400\r\n".encode())
    assert read_names(path, "perturbations") == ["TP53", "MYC"]
