"""A graph of genes, read from links of any shape."""

import numpy as np
import pandas as pd
import pytest

from scperturbmamba.features.graph import graph_table, is_links, read_links


def two_groups(n=12, seed=0):
    """Two groups of genes, linked inside, and one bridge."""
    rng = np.random.default_rng(seed)
    names = [[f"{group}{number}" for number in range(n)] for group in "AB"]
    rows = [(some[a], some[b], rng.uniform(500, 1000)) for some in names for a in range(n) for b in range(a)]
    return pd.DataFrame([*rows, ("A0", "B0", 400.0)], columns=["symbol_a", "symbol_b", "combined_score"])


def test_links_are_told_from_tables_of_genes():
    links = two_groups()
    assert is_links(links) and is_links(links[["symbol_a", "symbol_b"]])
    genes = pd.DataFrame({"symbol": ["A", "B"], "description": ["first", "second"], "score": [1.0, 2.0]})
    assert not is_links(genes)
    assert not is_links(genes.set_index("symbol")) and not is_links(genes[["score"]])


def test_links_go_both_ways_have_no_loops_and_at_most_weight_one():
    loop = pd.DataFrame({"symbol_a": ["A1"], "symbol_b": ["A1"], "combined_score": [1.0]})
    names, links = read_links(pd.concat([two_groups(), loop]))
    dense = links.toarray()
    assert names == sorted(names) and (dense == dense.T).all() and dense.max() == 1
    assert not dense.diagonal().any()
    assert dense[names.index("A0"), names.index("B0")] > 0


def test_neighbours_are_near_and_an_unknown_gene_is_known_to_be_unknown():
    table = graph_table(["A1", "A2", "B1", "B2", "Z"], two_groups(), width=8)
    assert list(table["known"]) == [1, 1, 1, 1, 0] and not table.loc["Z"].any()
    for kind in ("spectral", "walk"):
        some = table[[column for column in table if column.startswith(kind)]].to_numpy()[:4]
        np.testing.assert_allclose(np.linalg.norm(some, axis=1), 1, rtol=1e-5)
        likeness = some @ some.T
        assert likeness[0, 1] > likeness[0, 2] and likeness[2, 3] > likeness[1, 2]


def test_a_place_in_the_graph_does_not_depend_on_who_asks():
    one, other = (
        graph_table(["A1", "B3"], two_groups(), width=6),
        graph_table(["B3", "A5", "A1"], two_groups(), width=6),
    )
    np.testing.assert_array_equal(one.loc[["A1", "B3"]], other.loc[["A1", "B3"]])


def test_other_names_are_found():
    table = graph_table(["alias"], two_groups(), width=4, aliases={"alias": ["A3"]})
    assert table["known"].item() == 1


@pytest.mark.parametrize("weight", [-1.0, np.nan, 0.0])
def test_weights_that_cannot_be_are_refused(weight):
    with pytest.raises(ValueError, match="weights above 0"):
        read_links(two_groups().assign(combined_score=weight))


def test_a_file_is_read(tmp_path):
    two_groups().to_csv(tmp_path / "links.csv", index=False)
    pd.testing.assert_frame_equal(graph_table(["A1"], tmp_path / "links.csv"), graph_table(["A1"], two_groups()))
