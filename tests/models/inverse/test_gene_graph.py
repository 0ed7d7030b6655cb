"""Edges between genes: by place, by co-expression in training cells, by feature tables."""

import numpy as np
import pytest

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.models.inverse.gene_graph import gene_features, gene_graph, places

GENES = tuple("ABCDEF")


def tables():
    """A B C lie on chromosome 0 in the order C A B, D E on chromosome 1, F is unknown; a stranger stands first."""
    names = ("X", *GENES)
    position = np.array([[5, 0.5], [0, 0.2], [0, 0.9], [0, 0.1], [1, 0.3], [1, 0.4]], np.float32)
    position = np.vstack([position, [[24, 0]]]).astype(np.float32)
    sets = np.array([[0, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 0], [0, 0]], np.float32)
    return (
        FeatureTable("position", names, ("chromosome", "locus"), position, ""),
        FeatureTable("sets", names, ("s1", "s2"), sets, ""),
        FeatureTable("identity", names, ("c1",), np.ones((7, 1), np.float32), ""),
    )


def data(features=None, *, val=0, seed=0):
    """Return 300 cells in which B is the mirror image of E; the last ``val`` cells are validation cells."""
    x = np.random.default_rng(seed).normal(size=(300, 6)).astype(np.float32)
    x[:, 4] = -x[:, 1]
    condition = np.arange(300) % 2
    conditions = (Condition(), Condition.of("P"))
    is_val = np.arange(300) >= 300 - val
    return InverseData(
        GENES, x, condition, conditions, conditions[1].parts, np.zeros(300, int), is_val, features or tables()
    )


def edges(graph, kind):
    """Return the pairs (listener, speaker) that are joined in a kind."""
    rows, columns = np.nonzero(graph.weights[..., graph.kinds.index(kind)])
    return {GENES[row] + GENES[graph.neighbours[row, column]] for row, column in zip(rows, columns)}


def test_places_are_read_by_name_and_order_the_genes_along_the_genome():
    where = places(data())
    assert where.chromosome.tolist() == [0, 0, 0, 1, 1, 24]
    np.testing.assert_allclose(where.locus, [0.2, 0.9, 0.1, 0.3, 0.4, 0], rtol=1e-6)
    assert "".join(GENES[place] for place in where.order) == "CABDEF"


def test_without_positions_all_genes_are_unknown_and_keep_their_order():
    where = places(data(tables()[1:]))
    assert set(where.chromosome.tolist()) == {24}
    assert where.order.tolist() == list(range(6))


def test_genes_listen_to_the_closest_of_their_chromosome():
    assert edges(gene_graph(data(), 1, random_state=0), "position") == {"AC", "BA", "CA", "DE", "ED"}


def test_genes_listen_to_those_that_go_with_them_or_against_them():
    assert {"BE", "EB"} <= edges(gene_graph(data(), 1, random_state=0), "co-expression")


def test_genes_listen_to_those_of_their_sets():
    found = edges(gene_graph(data(), 2, random_state=0), "sets")
    assert {"AD", "AE", "DA", "DE", "EA", "ED", "BC", "CB"} <= found
    assert not found & {"AB", "BA", "CD"}


def test_every_gene_listens_to_itself_and_an_edge_stands_once():
    graph = gene_graph(data(), 3, random_state=0)
    assert edges(graph, "self") == {gene + gene for gene in GENES}
    for neighbours, weights in zip(graph.neighbours, graph.weights):
        present = neighbours[(weights != 0).any(-1)]
        assert len(set(present.tolist())) == len(present)


def test_labels_and_validation_cells_play_no_part():
    one = data(val=100)
    x = one.x.copy()
    x[one.is_val] = np.random.default_rng(4).normal(size=(100, 6))
    changed = {"x": x, "condition": 1 - one.condition}
    other = InverseData(**{**vars(one), **changed})
    for name in ("neighbours", "weights"):
        np.testing.assert_array_equal(
            getattr(gene_graph(one, 2, random_state=0), name), getattr(gene_graph(other, 2, random_state=0), name)
        )


@pytest.mark.parametrize("nearest", [1, 2, 50])
def test_no_gene_has_more_neighbours_of_a_kind_than_asked_for(nearest):
    graph = gene_graph(data(), nearest, random_state=0)
    assert (graph.weights != 0).sum(1).max() <= min(nearest, 5)


def test_names_and_places_are_no_features():
    assert gene_features(data()).shape == (6, 2)
    assert gene_features(data(tables()[:1])).shape == (6, 0)
