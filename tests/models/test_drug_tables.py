"""Tables of drugs beside tables of genes: what the models read out of them."""

from dataclasses import replace

import numpy as np
import pytest

from scperturbmamba.data.conditions import Part
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.encoding import Encoder, all_names
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.sparse.vectors import Block

DRUGS = ("d1", "d2", "d3", "unknown")
COUNTS = np.array([[3, 0, 1, 1], [0, 2, 2, 1], [1, 1, 0, 1], [0, 0, 0, 0]], np.float32)
NUMBERS = np.array([[5.0, 100, 1], [7, 300, 1], [12, 200, 1], [0, 0, 0]], np.float32)
PRINTS = FeatureTable("drug_fingerprint", DRUGS, ("b0", "b1", "b2", "known"), COUNTS, "p", scaled=False)
OWN = FeatureTable("drug_own", DRUGS, ("x", "y", "known"), NUMBERS, "o")


@pytest.fixture
def with_drugs(bundle):
    return replace(bundle, features=(*bundle.features, PRINTS, OWN))


def test_genes_stay_first_and_drugs_come_last(with_drugs):
    assert all_names(with_drugs.genes, with_drugs.features)[:12] == with_drugs.genes
    assert all_names(with_drugs.genes, with_drugs.features)[-4:] == DRUGS


def test_counts_are_read_as_they_are(with_drugs):
    vectors, known = GeneVectors.of(with_drugs, "drug_fingerprint").take(DRUGS)
    np.testing.assert_array_equal(vectors, COUNTS[:, :3])
    assert known.tolist() == [True, True, True, False]


def test_numbers_of_drugs_are_standardised_over_the_drugs_that_are_known(with_drugs):
    vectors, known = GeneVectors.of(with_drugs, "drug_own").take(DRUGS)
    numbers = NUMBERS[:3, :2]
    np.testing.assert_allclose(vectors[:3], (numbers - numbers.mean(0)) / numbers.std(0), atol=1e-6)
    assert known.tolist() == [True, True, True, False]


def test_tables_of_drugs_change_nothing_that_is_known_of_genes_and_the_other_way_round(bundle, with_drugs):
    plain, mixed = Encoder.fit(bundle), Encoder.fit(with_drugs)
    n, width = len(plain.names), plain.features.shape[1]
    np.testing.assert_array_equal(mixed.features[:n, :width], plain.features)
    assert not mixed.features[:n, width:].any()
    assert not mixed.features[n:, :width].any() and not mixed.code[n:].any()
    assert mixed.order.tolist() == plain.order.tolist()
    assert [mixed.has_features(Part(name)) for name in DRUGS] == [True, True, True, False]


def test_drugs_described_later_stand_beside_the_others_in_the_same_numbers(with_drugs):
    encoder, vectors = Encoder.fit(with_drugs), GeneVectors.of(with_drugs, "drug_fingerprint")
    more = replace(PRINTS, names=(*DRUGS, "late"), values=np.vstack([COUNTS, [[4, 0, 0, 1]]]).astype(np.float32))
    tables = (*with_drugs.features[:3], more, OWN)
    wider = encoder.extended(tables)
    np.testing.assert_array_equal(wider.features[: len(encoder.names)], encoder.features)
    np.testing.assert_array_equal(wider.features[-1], [*np.zeros(3), 4, 0, 0, 0, 0])
    np.testing.assert_array_equal(
        vectors.extended([more], with_drugs.genes).take(["late", "d1"])[0], [[4, 0, 0], [3, 0, 1]]
    )


def test_cosines_of_a_block_are_those_of_the_counts():
    block = Block.of(PRINTS, "b", ("b0", "b1", "b2"))
    unit = COUNTS[:3, :3] / np.linalg.norm(COUNTS[:3, :3], axis=1, keepdims=True)
    np.testing.assert_allclose(block.vectors.take(DRUGS[:3])[0], unit, atol=1e-6)
