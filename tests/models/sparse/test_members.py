"""The members of the sparse core, each against its definition."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit

from scperturbmamba.data.conditions import Part
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.metrics import mean_auc_per_gene
from scperturbmamba.models.sparse.axes import Axes
from scperturbmamba.models.sparse.evidence import Evidence
from scperturbmamba.models.sparse.factors import masked_factors
from scperturbmamba.models.sparse.gate import Gain
from scperturbmamba.models.sparse.labels import Base, Labels
from scperturbmamba.models.sparse.likeness import Likeness, sharpened
from scperturbmamba.models.sparse.neighbours import Neighbours
from scperturbmamba.models.sparse.pairs import Moments
from scperturbmamba.models.sparse.process import Prior, Process
from scperturbmamba.models.sparse.vectors import blocks_of
from scperturbmamba.models.sparse.weigh import weigh


def unit(rng, *shape):
    rows = rng.normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def labels_of(rng, n_rows=14, n_genes=9, known=0.4):
    row, column = np.nonzero(rng.random((n_rows, n_genes)) < known)
    value = (rng.random(len(row)) < 0.4).astype(np.float32)
    weight = rng.gamma(4, 0.25, len(row)).astype(np.float32)
    return Labels(tuple(Part(f"P{number:02d}") for number in range(n_rows)), row, column, value, weight, n_genes)


@pytest.mark.parametrize("known", [0.15, 0.9], ids=["thin", "thick"])
def test_the_process_is_the_posterior_mean_of_its_prior(known):
    rng = np.random.default_rng(1)
    labels = labels_of(rng, known=known)
    rows, genes, new = unit(rng, 14, 5), unit(rng, 9, 4), unit(rng, 3, 5)
    kernel, across = sharpened(rows, rows, 2.0), sharpened(new, rows, 2.0)
    residual = rng.normal(size=len(labels.row)).astype(np.float32)
    prior = Prior(own=1.0, shared=0.5, strength=0.2, noise=2.0)
    found = Process.fit(labels, residual, kernel, genes, prior).predict(across, genes)

    alike = np.eye(9) * prior.own + prior.shared * genes @ genes.T + prior.strength
    covariance = kernel[np.ix_(labels.row, labels.row)] * alike[np.ix_(labels.column, labels.column)]
    weights = np.linalg.solve(covariance + np.diag(prior.noise / labels.weight), residual)
    expected = np.array([(across[:, labels.row] * alike[gene, labels.column]) @ weights for gene in range(9)]).T
    np.testing.assert_allclose(sum(found), expected, atol=0.02 * np.abs(expected).max())


def test_a_sharpened_kernel_is_positive_and_knows_nothing_of_unknown_genes():
    rows = unit(np.random.default_rng(0), 30, 6)
    kernel = sharpened(rows, rows, 8.0)
    np.testing.assert_allclose(np.diag(kernel), 1, rtol=1e-5)
    assert np.linalg.eigvalsh(kernel.astype(float)).min() > -1e-6
    rows[3] = 0
    kernel = sharpened(rows, rows, 8.0)
    assert not kernel[3].any() and not kernel[:, 3].any()


def test_factors_complete_a_matrix_of_low_rank():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 40))
    known = rng.random(truth.shape) < 0.5
    left, right = masked_factors(sp.csr_matrix(truth * known), sp.csr_matrix(known.astype(float)), rng, rank=3)
    left_out = (left @ right.T - truth)[~known]
    assert np.square(left_out).mean() < 0.1 * np.square(truth[~known]).mean()


def test_readout_genes_without_features_share_by_how_they_respond(make_world, without_features):
    gains = []
    for seed in range(4):
        data, asked, truth = make_world(seed=seed, known=0.2)
        data = without_features(data, data.genes)
        likeness = Likeness(tuple(blocks_of(data.features)))
        labels = Labels.of(data, 0)
        axes = Axes.of(likeness, [part.name for part in labels.parts], data.genes)
        evidence = Evidence.fit(labels, likeness, axes, np.random.default_rng(0))
        said = evidence.scores([one.names[0] for one in asked], likeness)
        assert not said["process, alike genes"].any()
        own, responding = said["process, same gene"], said["process, genes that respond alike"]
        genes = np.broadcast_to(np.arange(len(data.genes)).astype(str), truth.shape)
        with_others, alone = (
            mean_auc_per_gene(genes.ravel(), truth.ravel(), score.ravel()) for score in (own + responding, own)
        )
        gains.append(with_others - alone)
    assert min(gains) > 0, gains


def wide_table(rng, n_genes=80, width=30):
    names = tuple(f"A{number:02d}" for number in range(n_genes))
    values = (
        rng.normal(size=(n_genes, 4)) @ rng.normal(size=(4, width)) + 0.01 * rng.normal(size=(n_genes, width))
    ) ** 3
    return FeatureTable("wide", names, tuple(f"number{place}" for place in range(width)), values.astype(np.float32), "")


def test_perturbed_genes_lie_along_the_leading_directions_of_their_features():
    table = wide_table(np.random.default_rng(0))
    likeness = Likeness(tuple(blocks_of([table])))
    perturbed, new = table.names[:60], table.names[60:]
    found = Axes.of(likeness, perturbed, table.names)
    directions = np.linalg.svd(likeness.together(perturbed).astype(float), full_matrices=False)[2][:12]
    expected = likeness.together(new) @ directions.T
    np.testing.assert_allclose(np.abs(likeness.together(new) @ found.directions), np.abs(expected), atol=1e-3)


def test_few_numbers_stay_as_they_are():
    table = wide_table(np.random.default_rng(0), width=5)
    likeness = Likeness(tuple(blocks_of([table])))
    found = Axes.of(likeness, table.names[:60], table.names)
    np.testing.assert_allclose(found.genes, likeness.together(table.names), atol=1e-6)
    np.testing.assert_allclose(
        likeness.together(table.names) @ found.directions, likeness.together(table.names), atol=1e-6
    )


def test_neighbours_average_what_is_known_and_are_drawn_to_no_change():
    product, weight = np.array([[2.0, 0.0], [4.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    near = Neighbours(sp.csr_matrix(product), sp.csr_matrix(weight))
    said = near.average(np.array([[0.75, 0.25], [0.0, 0.0]], np.float32), doubt=1.0)
    np.testing.assert_allclose(said, [[(0.75 * 2 + 0.25 * 4) / 2, 0], [0, 0]], rtol=1e-6)


def test_base_rates_are_weighted_means_drawn_to_the_mean_of_all():
    labels = labels_of(np.random.default_rng(2))
    base = Base.of(labels)
    overall = np.average(labels.value, weights=labels.weight)
    for gene in range(9):
        mine = labels.column == gene
        expected = ((labels.weight * labels.value)[mine].sum() + 2 * overall) / (labels.weight[mine].sum() + 2)
        assert base.mean[gene] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(expit(base.score()), base.mean, rtol=1e-5)


def test_weights_are_not_negative_and_calls_are_weighed_by_likelihood():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 3)).astype(np.float32)
    offset = rng.normal(size=20_000).astype(np.float32)
    called = (rng.random(20_000) < expit(offset + 1.5 * x[:, 0] - 0.5 * x[:, 1] + 0.3)).astype(np.float32)
    ones = np.ones(20_000, np.float32)
    found = weigh(x, offset, called, ones, are_calls=True)
    np.testing.assert_allclose(found, [1.5, 0, 0, 0.3], atol=0.12)
    effects = (offset + 1.5 * x[:, 0] - 0.5 * x[:, 1] + 0.3).astype(np.float32)
    np.testing.assert_allclose(weigh(x, offset, effects, ones, are_calls=False), [1.5, 0, 0, 0.3], atol=0.02)


def test_the_gain_of_calls_is_the_difference_of_the_areas_and_its_error_that_of_a_bootstrap():
    rng = np.random.default_rng(0)
    perturbation, gene = (one.ravel() for one in np.indices((80, 12)))
    truth = rng.normal(size=960)
    called = (truth + rng.normal(size=960) > 0.5).astype(np.float32)
    new, old = truth + rng.normal(0, 0.7, 960), truth + rng.normal(0, 1.5, 960)
    found = Gain.of_calls(gene, perturbation, called, new, old)

    def difference(taken):
        return np.subtract(*(mean_auc_per_gene(gene[taken], called[taken], one[taken]) for one in (new, old)))

    assert found.mean == pytest.approx(difference(np.arange(960)), abs=1e-6)
    draws = [difference((rng.integers(0, 80, 80)[:, None] * 12 + np.arange(12)).ravel()) for _ in range(200)]
    assert found.error == pytest.approx(np.std(draws), rel=0.25)
    assert found.is_sure and not Gain.of_calls(gene, perturbation, called, old, old).is_sure


def test_without_both_labels_no_gain_of_calls_is_sure():
    ones = np.ones(6, np.float32)
    found = Gain.of_calls(np.arange(6) % 2, np.arange(6), ones, ones * np.arange(6), ones)
    assert not found.is_sure and "no gain can be measured" in found.words()


def test_the_gain_of_effects_is_a_share_of_the_squares_with_the_error_of_a_sum():
    rng = np.random.default_rng(0)
    perturbation = np.repeat(np.arange(50), 8)
    target = rng.normal(size=400)
    found = Gain.of_effects(perturbation, target, np.ones(400), 0.5 * target, np.zeros(400))
    assert found.mean == pytest.approx(0.75) and found.is_sure
    gains = [
        Gain.of_effects(perturbation, target, np.ones(400), rng.normal(0, 0.1, 400), np.zeros(400)) for _ in range(50)
    ]
    assert np.mean([one.is_sure for one in gains]) < 0.3


def test_numbers_are_standardised_by_the_moments_of_the_training_pairs():
    train = np.random.default_rng(0).normal(3, 2, (500, 2)).astype(np.float32)
    train[:, 1] = 7
    moments = Moments.of(train)
    found = moments.standardise(np.array([[3, 7], [5, 8], [300, 7]], np.float32))
    np.testing.assert_allclose(found, [[0, 0], [1, 1], [6, 0]], atol=0.15)


def test_a_sample_of_entries_is_a_part_of_them():
    labels = labels_of(np.random.default_rng(0))
    assert labels.sample(10_000, np.random.default_rng(1)) is labels
    some = labels.sample(20, np.random.default_rng(1))
    pairs = set(zip(labels.row, labels.column, labels.value))
    assert len(some.row) == 20 and set(zip(some.row, some.column, some.value)) < pairs and some.parts == labels.parts
