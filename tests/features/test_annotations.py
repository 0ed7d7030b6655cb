import numpy as np
import pandas as pd
import pytest

from scperturbmamba.features.annotations import annotation_table, is_annotations
from scperturbmamba.features.graph import is_links


@pytest.fixture
def terms():
    """Two processes of ten genes each, a term that all share, and places of their own."""
    first, second = ([f"{letter}{number}" for number in range(10)] for letter in "AB")
    rows = [
        ("GO:1", "one", "process", first),
        ("GO:2", "one, narrow", "process", first[:6]),
        ("GO:3", "other", "process", second),
        ("GO:4", "other, narrow", "process", second[3:]),
        ("GO:5", "all", "process", first + second),
        ("GO:6", "here", "place", first[::2] + second[::2]),
        ("GO:7", "there", "place", first[1::2] + second[1::2]),
    ]
    table = pd.DataFrame(rows, columns=["go_id", "go_term", "go_domain", "genes"])
    table["size"] = table["genes"].map(len)
    table["genes"] = table["genes"].map("|".join)
    return table


def test_terms_are_told_from_links_and_from_tables_of_numbers(terms):
    assert is_annotations(terms) and not is_links(terms)
    assert not is_annotations(pd.DataFrame({"genes": [3, 4]}, index=["TP53", "MYC"]))
    assert not is_annotations(pd.DataFrame({"a": ["TP53"], "b": ["MYC"]}))


def test_genes_of_like_terms_are_near_in_their_domain(terms):
    found = annotation_table(["A0", "A1", "A2", "B8", "NONE"], terms, width=2)
    process = found.filter(regex=r"^process\d").to_numpy()
    place = found.filter(regex=r"^place\d").to_numpy()
    assert process[0] @ process[1] > 0.95 > process[0] @ process[3]
    assert place[0] @ place[2] > 0.95 > place[0] @ place[1]
    assert found["known"].tolist() == [1, 1, 1, 1, 0] and not found.loc["NONE"].any()
    np.testing.assert_allclose(np.linalg.norm(process[:4], axis=1), 1, rtol=1e-5)


def test_what_a_gene_gets_does_not_depend_on_who_else_is_asked_for(terms):
    alone = annotation_table(["B8"], terms, width=2)
    among = annotation_table(["A0", "B8", "B1"], terms, width=2)
    pd.testing.assert_frame_equal(alone, among.loc[["B8"]])


def test_a_file_reads_like_the_table(terms, tmp_path):
    terms.to_csv(tmp_path / "go.tsv.gz", sep="\t", index=False)
    assert is_annotations(tmp_path / "go.tsv.gz")
    expected = annotation_table(["A0", "B8"], terms)
    pd.testing.assert_frame_equal(annotation_table(["A0", "B8"], tmp_path / "go.tsv.gz"), expected)


def test_without_domains_there_is_one_block(terms):
    found = annotation_table(["A0"], terms.drop(columns="go_domain"), width=2)
    assert list(found.columns) == ["term1", "term2", "known"]


def test_terms_without_genes_are_refused(terms):
    with pytest.raises(ValueError, match="joined by"):
        annotation_table(["A0"], terms.assign(genes=""))


@pytest.mark.data
def test_the_gene_ontology_of_the_shared_folder_is_read(shared_data):
    genes = ["RPL3", "RPL4", "PSMA1", "PSMB2"]
    found = annotation_table(genes, shared_data / "knowledge" / "go_annotations_human.tsv.gz", width=50)
    assert found.shape == (4, 151) and found["known"].all()
    x = found.filter(regex="^biological_process").to_numpy()
    assert x[0] @ x[1] > 0.5 > x[0] @ x[2] and x[2] @ x[3] > 0.5
