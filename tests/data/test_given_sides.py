"""Sides that somebody else chose."""

import json

import pytest

from scperturbmamba.data.given_sides import read_file, read_mapping, read_side

KNOWN = frozenset({"CBL", "CNN1", "TP53", "KLF1"})


@pytest.mark.parametrize(
    ("word", "side"), [("train", "train"), ("Valid", "val"), ("validation", "val"), ("ood", "test"), (" TEST ", "test")]
)
def test_the_words_of_other_tools_are_read(word, side):
    assert read_side(word) == side


@pytest.mark.parametrize("word", ["", "nan", "control", 3])
def test_a_word_that_names_no_side_is_refused(word):
    with pytest.raises(ValueError, match="a side of a split"):
        read_side(word)


@pytest.mark.parametrize(
    "given",
    [
        {"CNN1+CBL": "test", "TP53": "train", "KLF1+ctrl": "val"},
        {"test": ["CBL_CNN1"], "training": ["TP53"], "valid": ["ctrl+KLF1"]},
    ],
)
def test_labels_of_any_dialect_are_brought_to_ours(given):
    assert read_mapping(given, KNOWN, {}) == {"CBL+CNN1": "test", "TP53": "train", "KLF1": "val"}


def test_a_label_on_two_sides_is_refused():
    with pytest.raises(ValueError, match=r"'CBL\+CNN1' on two sides"):
        read_mapping({"train": ["CBL+CNN1"], "test": ["CNN1+CBL"]}, KNOWN, {})


@pytest.mark.parametrize("form", ["json", "csv", "tsv"])
def test_files_are_read(tmp_path, form):
    path = tmp_path / f"split.{form}"
    sides = {"TP53": "train", "KLF1": "test"}
    mark = "," if form == "csv" else "\t"
    rows = ["x", "perturbation", "split"], *([str(n), *pair] for n, pair in enumerate(sides.items()))
    path.write_text(json.dumps(sides) if form == "json" else "\n".join(mark.join(row) for row in rows))
    assert read_file(path) == sides


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "[1]", "must hold an object"),
        ("a.csv", "gene,split\nA,train", "perturbation"),
        ("a.txt", "", ".json"),
    ],
)
def test_files_of_another_shape_are_refused(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_file(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        read_file(tmp_path / "gone.csv")


def test_a_label_may_give_its_dose_in_another_unit_than_the_screen():
    given = {"train": ["x@1 uM", "y@1 uM"], "test": ["x@500nM", "x@2"]}
    sides = {"x@1000": "train", "y@1": "train", "x@500": "test", "x@2": "test"}
    assert read_mapping(given, set(), {"x": "nM"}) == sides
    with pytest.raises(ValueError, match="'x@1000' on two sides"):
        read_mapping({"train": ["x@1 uM"], "test": ["x@1000nM"]}, set(), {"x": "nM"})
