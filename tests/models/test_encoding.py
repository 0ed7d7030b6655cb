from dataclasses import replace

import numpy as np
import pytest
import torch

from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.models.encoding import Encoder


@pytest.fixture
def encoder(bundle):
    return Encoder.fit(bundle)


def encode(encoder, *labels, kind="CRISPRi"):
    conditions = [Condition.parse(label).with_kind(kind) for label in labels]
    rows = np.zeros(len(labels), np.int64)
    return encoder.encode(conditions, rows, np.zeros((len(labels), 0), np.float32))


def test_names_and_kinds_come_from_the_training_rows_alone(encoder):
    assert encoder.parts == ("G00", "G01", "G02", "G03", "OUT1")
    assert encoder.kinds == ("", "CRISPRi")
    assert encoder.names == (*(f"G{number:02d}" for number in range(12)), "OUT1", "OUT2")
    assert encoder.provenance == {"identity": "hash-i", "pathway": "hash-p", "position": "hash-o"}


def test_the_sequence_runs_along_the_genome(encoder, bundle):
    table = next(one for one in bundle.features if one.source == "position")
    places = [tuple(table.values[gene, :2]) for gene in encoder.order]
    assert places == sorted(places)
    assert sorted(encoder.order) == list(range(12))
    assert encoder.chromosome[encoder.order].tolist() == [0] * 6 + [1] * 6


def test_without_positions_genes_stay_in_the_order_of_the_screen(make_bundle):
    encoder = Encoder.fit(make_bundle(features=False))
    assert encoder.order.tolist() == list(range(12))
    assert set(encoder.chromosome) == {24}
    inputs = encoder.gene_inputs()
    assert inputs.locus.shape == (12, 1) and not inputs.locus.any()
    assert encode(encoder, "G00").features.shape == (1, 1, 1)


def test_features_are_standardised_over_the_measured_genes_that_are_known(encoder, bundle):
    pathway = next(one for one in bundle.features if one.source == "pathway").values
    known = pathway[:12, 3] > 0
    centre, spread = pathway[:12, :3][known].mean(0), pathway[:12, :3][known].std(0)
    np.testing.assert_allclose(encoder.features[:12][known], (pathway[:12, :3][known] - centre) / spread, atol=1e-5)
    np.testing.assert_allclose(encoder.features[12], (pathway[12, :3] - centre) / spread, atol=1e-5)
    assert not encoder.features[[5, 13]].any()
    assert encoder.code.shape == (14, 4)
    np.testing.assert_allclose(encoder.code[:12].mean(0), 0, atol=1e-6)


def test_a_column_that_never_varies_tells_nothing_and_breaks_nothing(bundle):
    tables = [one for one in bundle.features if one.source != "pathway"]
    flat = next(one for one in bundle.features if one.source == "pathway")
    flat.values[:, 0] = 7
    encoder = Encoder.fit(replace(bundle, features=(*tables, flat)))
    assert np.isfinite(encoder.features).all()
    assert not encoder.features[:5, 0].any()


def test_gene_inputs_lie_in_the_order_of_the_sequence(encoder):
    inputs = encoder.gene_inputs()
    for place, gene in enumerate(encoder.order):
        expected = np.concatenate([encoder.features[gene], encoder.code[gene]])
        np.testing.assert_array_equal(inputs.features[place].numpy(), expected)
        np.testing.assert_array_equal(inputs.locus[place].numpy(), encoder.locus[gene])
        assert inputs.chromosome[place] == encoder.chromosome[gene]


def test_a_condition_is_a_padded_set_of_parts(encoder):
    found = encode(encoder, "G00", "G01+G04", "control", "OUT2", "NOWHERE")
    assert found.present.tolist() == [[True, False], [True, True], [False, False], [True, False], [True, False]]
    assert found.index.tolist() == [[1, 0], [2, 0], [0, 0], [0, 0], [0, 0]]
    assert found.kind[0].tolist() == [1, 0] and found.kind[1].tolist() == [1, 1]
    token = {gene: place for place, gene in enumerate(encoder.order)}
    assert found.place.tolist() == [[token[0], -1], [token[1], token[4]], [-1, -1], [-1, -1], [-1, -1]]
    np.testing.assert_array_equal(found.features[1, 1].numpy(), encoder.features[4])
    np.testing.assert_array_equal(found.code[3, 0].numpy(), encoder.code[13])
    assert not found.features[4].any() and not found.code[4].any()


def test_the_order_in_which_parts_are_written_is_of_no_account(encoder):
    one, other = encode(encoder, "G01+G00"), encode(encoder, "G00+G01")
    for name in ("index", "kind", "features", "code", "place"):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_a_kind_never_seen_in_training_is_the_unknown_one(encoder):
    assert encode(encoder, "G00", kind="CRISPRa").kind.tolist() == [[0]]


def test_covariates_and_contexts_pass_through(encoder):
    told = np.array([[0.5, 1], [2, 3]], np.float32)
    found = encoder.encode([Condition.of("G00")] * 2, np.array([0, 1]), told)
    assert found.context.tolist() == [0, 1]
    np.testing.assert_array_equal(found.covariates.numpy(), told)
    assert encode(encoder, "G00").covariates.shape == (1, 1)


def test_moving_genes_in_the_screen_moves_nothing_in_the_sequence(bundle, permuted):
    order = np.random.default_rng(3).permutation(12)
    one, other = Encoder.fit(bundle), Encoder.fit(permuted(bundle, order))
    assert [one.genes[gene] for gene in one.order] == [other.genes[gene] for gene in other.order]
    for name in ("chromosome", "locus", "features"):
        found, expected = getattr(other.gene_inputs(), name), getattr(one.gene_inputs(), name)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def later(tables, *, names=("LATE",)):
    """The same tables with one more gene."""
    return tuple(
        replace(one, names=(*one.names, *names), values=np.vstack([one.values, one.values[:1] + 1])) for one in tables
    )


def test_features_of_genes_that_come_later_are_on_the_scale_of_training(encoder, bundle):
    wider = encoder.extended(later(bundle.features))
    assert wider.names == (*encoder.names, "LATE")
    np.testing.assert_array_equal(wider.features[:14], encoder.features)
    pathway = next(one for one in bundle.features if one.source == "pathway").values
    known = pathway[:12, 3] > 0
    centre, spread = pathway[:12, :3][known].mean(0), pathway[:12, :3][known].std(0)
    np.testing.assert_allclose(wider.features[14], (pathway[0, :3] + 1 - centre) / spread, atol=1e-5)
    assert encode(wider, "LATE").features.any() and not encode(encoder, "LATE").features.any()


def test_tables_of_other_widths_or_without_new_genes_change_nothing(encoder, bundle):
    assert encoder.extended(bundle.features) is encoder
    assert encoder.extended(()) is encoder
    narrow = [one for one in later(bundle.features) if one.source != "pathway"]
    assert encoder.extended(narrow) is encoder


def test_features_are_known_of_a_gene_that_a_source_describes(encoder):
    assert encoder.has_features(Part("G00")) and encoder.has_features(Part("OUT1"))
    assert not encoder.has_features(Part("G05"))  # a code and a place, and nothing of what it does
    assert not encoder.has_features(Part("NOWHERE"))
