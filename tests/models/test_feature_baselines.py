"""Baselines that know genes by their features, against hand-made oracles."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.linear_model import Ridge as SklearnRidge

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.models.baselines import MatchingMean, ScaledAdditive
from scperturbmamba.models.bilinear import Bilinear
from scperturbmamba.models.feature_baselines import Nearest, Neighbours, Ridge
from scperturbmamba.models.gene_vectors import GeneVectors

ALL = [MatchingMean, ScaledAdditive, Nearest, Neighbours, Ridge, Bilinear]


def asked(*labels, kind="CRISPRi"):
    return [Condition.parse(label).with_kind(kind) for label in labels]


def effect(data, label, context=0):
    wanted = asked(label)[0]
    (row,) = [row for row, one in enumerate(data.conditions) if one == wanted and data.context[row] == context]
    return data.delta[row]


def mean(data, context=0):
    rows = data.training()
    return data.delta[rows[data.context[rows] == context]].mean(0)


@pytest.mark.parametrize("model", ALL)
def test_fit_returns_the_model_predictions_are_conditions_by_genes_and_the_control_does_nothing(bundle, model):
    fitted = model()
    assert fitted.fit(bundle) is fitted
    found = fitted.predict(asked("G00", "control", "G01+G11", "OUT2"), context=1)
    assert found.shape == (4, 12) and found.dtype == np.float32 and np.isfinite(found).all()
    assert not found[1].any()


@pytest.mark.parametrize("model", ALL)
def test_the_order_of_the_parts_is_of_no_matter(bundle, model):
    fitted = model().fit(bundle)
    assert np.array_equal(fitted.predict(asked("G00+G09")), fitted.predict(asked("G09+G00")))


def test_a_part_that_was_never_seen_has_the_mean_in_the_matching_mean(bundle):
    found = MatchingMean().fit(bundle).predict(asked("G00+G09", "G09", "G01+G00"))
    np.testing.assert_allclose(found[0], (effect(bundle, "G00") + mean(bundle)) / 2, rtol=1e-5)
    np.testing.assert_allclose(found[1], mean(bundle), rtol=1e-5)
    np.testing.assert_allclose(found[2], (effect(bundle, "G00") + effect(bundle, "G01")) / 2, rtol=1e-5)


def test_the_coefficient_of_the_additive_model_is_least_squares_over_training_pairs(bundle):
    model = ScaledAdditive().fit(bundle)
    total = (effect(bundle, "G00") + effect(bundle, "G01")).astype(float)
    (expected,) = np.linalg.lstsq(total[:, None], effect(bundle, "G00+G01").astype(float), rcond=None)[0]
    assert model.coefficient == pytest.approx([expected, 1.0])  # the second context has no pair
    np.testing.assert_allclose(model.predict(asked("G00+G01"))[0], expected * total, rtol=1e-4)
    np.testing.assert_array_equal(model.predict(asked("G02"))[0], effect(bundle, "G02"))


@pytest.mark.parametrize("model", [Nearest, Neighbours, Ridge])
def test_what_was_seen_alone_is_remembered_and_what_has_no_features_is_the_mean(bundle, model):
    fitted = model("pathway").fit(bundle)
    found = fitted.predict(asked("G00", "G01+G02", "OUT2", "NEW"))
    np.testing.assert_array_equal(found[0], effect(bundle, "G00"))
    np.testing.assert_allclose(found[1], effect(bundle, "G01") + effect(bundle, "G02"), rtol=1e-5)
    np.testing.assert_allclose(found[2:], np.tile(mean(bundle), (2, 1)), rtol=1e-5)


def seen_alone(bundle):
    return ["G00", "G01", "G02", "G03", "OUT1"]


def test_ridge_is_scikit_learn_s(bundle):
    model = Ridge("pathway").fit(bundle)
    vectors = GeneVectors.of(bundle, "pathway")
    x, known = vectors.take(seen_alone(bundle))
    assert known.all()
    y = np.array([effect(bundle, one) for one in seen_alone(bundle)]) - mean(bundle)
    alpha = model.setting * np.trace(x @ x.T) / len(x)
    oracle = SklearnRidge(alpha=alpha, fit_intercept=False).fit(x, y)
    new, _ = vectors.take(["G07", "G09"])
    np.testing.assert_allclose(model.predict(asked("G07", "G09")), oracle.predict(new) + mean(bundle), atol=1e-5)


def test_the_nearest_is_the_most_alike_by_cosine(bundle):
    vectors = GeneVectors.of(bundle, "pathway")
    x, _ = vectors.take(seen_alone(bundle))
    for name in ("G06", "G07", "G08", "G09", "G10"):
        likeness = 1 - cdist(vectors.take([name])[0], x, "cosine")[0]
        if likeness.max() > 0:
            expected = effect(bundle, seen_alone(bundle)[int(likeness.argmax())])
            np.testing.assert_allclose(Nearest("pathway").fit(bundle).predict(asked(name))[0], expected, rtol=1e-5)


def test_the_setting_is_the_best_on_the_validation_rows_and_only_they_choose_it(bundle):
    model = Neighbours("pathway").fit(bundle)
    errors = [model._validation_error(bundle, setting) for setting in model.settings]
    assert model.setting == model.settings[int(np.argmin(errors))]
    x, _ = model.vectors.take(["G04"])
    near = model._regress(*model.known[0], x, 1.0)[0] + mean(bundle)
    changed = replace(bundle, delta=bundle.delta.copy())
    for row in np.flatnonzero(bundle.is_val):
        if bundle.conditions[row] == asked("G04")[0] and bundle.context[row] == 0:
            changed.delta[row] = near  # the nearest neighbour is right
    changed = replace(changed, context=np.zeros_like(bundle.context))
    kept = [
        row for row in range(len(bundle.delta)) if bundle.context[row] == 0 and len(bundle.conditions[row].parts) < 2
    ]
    part = replace(
        changed,
        conditions=tuple(changed.conditions[row] for row in kept),
        **{name: getattr(changed, name)[kept] for name in ("context", "delta", "se", "n_cells", "is_val")},
    )
    assert Neighbours("pathway").fit(part).setting == 1.0


def world_with_signal(bundle, rng):
    """Effects that are a linear function of the features."""
    names = (*bundle.genes, "OUT1", "OUT2")
    values = rng.normal(size=(14, 2)).astype(np.float32)
    table = FeatureTable("signal", names, ("a", "b"), values, "h")
    place = {name: row for row, name in enumerate(names)}
    matrix = rng.normal(size=(2, 12)).astype(np.float32)
    delta = np.stack([sum(values[place[name]] for name in one.names) @ matrix for one in bundle.conditions])
    return replace(bundle, features=(table,), delta=delta.astype(np.float32)), values[place["G09"]] @ matrix


def test_features_that_tell_are_used_and_shuffled_ones_are_not(bundle):
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(20):
        world, truth = world_with_signal(bundle, rng)
        found, null = (Ridge(shuffled=shuffled).fit(world).predict(asked("G09"))[0] for shuffled in (False, True))
        base = np.square(truth - mean(world)).sum()
        gains.append([np.square(truth - one).sum() / base for one in (found, null)])
    with_features, by_chance = np.median(gains, axis=0)
    assert with_features < 0.8 < by_chance


def test_a_source_that_is_not_there_says_what_to_run(bundle):
    with pytest.raises(KeyError, match=r"'string'.*gene_features"):
        Ridge("string").fit(bundle)
    with pytest.raises(KeyError, match="what a gene does"):
        Ridge().fit(replace(bundle, features=()))


def test_the_bilinear_model_is_the_published_formula(bundle):
    alone = [one for one in seen_alone(bundle) if one in bundle.genes]
    y = np.array([effect(bundle, one) for one in alone], float).T - mean(bundle)[:, None]
    u, s, _ = np.linalg.svd(y, full_matrices=False)
    g = u * s
    p = g[[bundle.genes.index(one) for one in alone]]
    eye = np.eye(g.shape[1])
    w = np.linalg.inv(g.T @ g + 0.1 * eye) @ g.T @ y @ p @ np.linalg.inv(p.T @ p + 0.1 * eye)
    found = Bilinear().fit(bundle).predict(asked("G07", "OUT2"))
    np.testing.assert_allclose(found[0], mean(bundle) + g @ w @ g[7], atol=1e-5)
    np.testing.assert_allclose(found[1], mean(bundle), atol=1e-6)


def test_wide_features_are_reduced_over_all_genes_not_over_the_perturbed_ones(bundle):
    rng = np.random.default_rng(0)
    names = tuple(f"X{number}" for number in range(300))
    table = FeatureTable(
        "sets", (*bundle.genes, *names), tuple(map(str, range(150))), rng.random((312, 150), np.float32), ""
    )
    vectors = GeneVectors.of(replace(bundle, features=(table,)))
    assert vectors.values.shape == (312, 100)
    fewer = replace(bundle, features=(table,), is_val=np.ones_like(bundle.is_val))
    assert np.array_equal(GeneVectors.of(fewer).values, vectors.values)


def test_gaps_are_left_out_of_means_and_coefficients(bundle):
    weight = np.ones_like(bundle.delta)
    weight[0, :5] = 0
    gappy = replace(bundle, weight=weight, delta=np.where(weight > 0, bundle.delta, 0))
    rows = bundle.training()
    rows = rows[bundle.context[rows] == 0]
    expected = np.array([bundle.delta[rows[weight[rows, gene] > 0], gene].mean() for gene in range(12)])
    np.testing.assert_allclose(gappy.mean_effect(rows), expected, rtol=1e-5)
    everywhere = replace(bundle, weight=np.full_like(bundle.delta, 2.5))
    np.testing.assert_allclose(everywhere.mean_effect(rows), bundle.delta[rows].mean(0), rtol=1e-5)
    for model in ALL:
        assert np.isfinite(model().fit(gappy).predict(asked("G09", "G00+G01"))).all()
