from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from scperturbmamba.data.units import draw_units
from scperturbmamba.models.inverse.base import score_sets
from scperturbmamba.models.inverse.centroid import NearestCentroid
from scperturbmamba.models.inverse.dictionary import Dictionary
from scperturbmamba.models.inverse.effects import EffectModel, Effects, reliability
from scperturbmamba.models.inverse.linear import Discriminant, Logistic
from scperturbmamba.models.inverse.neighbours import Neighbours
from scperturbmamba.models.inverse.nonnegative import NonNegative
from scperturbmamba.models.inverse.pairs import sets_of

MODELS = [Dictionary, NearestCentroid, Logistic, Discriminant, Neighbours, NonNegative]
every_model = pytest.mark.parametrize("model", MODELS)
every_effect_model = pytest.mark.parametrize("model", [Dictionary, NearestCentroid, NonNegative])


def halves(data):
    """Even cells are trained on, the means of ten odd cells of one condition are asked for."""
    odd = np.arange(len(data.x)) % 2 == 1
    units = draw_units(data.x, np.where(odd, data.answer, -1), [10], most=5, rng=np.random.default_rng(0))
    return data.take(~odd), units


def top1(model, data):
    train, units = halves(data)
    return (model().fit(train).scores(units.x, units.n_cells).argmax(1) == units.group).mean()


@every_model
def test_clear_perturbations_are_found(model, additive):
    assert top1(model, additive()[0]) > 0.9


@every_model
def test_with_permuted_labels_there_is_nothing_to_find(model, additive):
    data, _ = additive(n_candidates=8, cells=100)
    rng = np.random.default_rng(1)
    found = [top1(model, replace(data, condition=rng.permutation(data.condition))) for _ in range(4)]
    assert np.mean(found) < 1 / 8 + 4 * np.sqrt(7 / 64 / (4 * 8 * 5))


@every_model
def test_the_order_of_genes_is_of_no_account(model, additive):
    data, _ = additive()
    train, units = halves(data)
    order = np.random.default_rng(0).permutation(len(data.genes))
    genes = tuple(data.genes[place] for place in order)
    moved = replace(train, x=train.x[:, order], genes=genes)
    one = model().fit(train).scores(units.x, units.n_cells)
    other = model().fit(moved).scores(units.x[:, order], units.n_cells)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(one).max())


@every_model
def test_validation_cells_teach_nothing(model, additive):
    data, _ = additive()
    val = np.arange(len(data.x)) % 3 == 0
    noisy = data.x.copy()
    noisy[val] += 50
    units = draw_units(data.x, data.answer, [10], most=2, rng=np.random.default_rng(0))
    one, other = (model().fit(replace(data, x=x, is_val=val)).scores(units.x, units.n_cells) for x in (data.x, noisy))
    np.testing.assert_array_equal(one, other)


@every_model
def test_a_stored_model_gives_the_same_scores(model, additive):
    train, units = halves(additive()[0])
    fitted = model().fit(train)
    again = model.from_state(fitted.state())
    expected = fitted.scores(units.x, units.n_cells)
    np.testing.assert_allclose(again.scores(units.x, units.n_cells), expected, rtol=1e-3, atol=1e-4)


@every_model
def test_the_control_has_no_score_of_its_own(model, additive):
    train, units = halves(additive()[0])
    scores = score_sets(model().fit(train), units.x, units.n_cells, [()])
    if model is not NearestCentroid:  # which compares directions, and the control has none
        np.testing.assert_allclose(scores, 0, atol=1e-9)


@every_effect_model
def test_pairs_of_singles_are_found_without_having_seen_one(model, additive):
    data, effects = additive(strength=2.0)
    fitted = model().fit(data)
    sets = sets_of(range(len(effects)), fewest=2, most=2)
    rng = np.random.default_rng(3)
    truth = np.array([effects[list(one)].sum(0) for one in sets])
    x = (3 + truth + rng.normal(size=truth.shape) / 5).astype(np.float32)
    found = fitted.set_scores(x, np.full(len(x), 25), sets).argmax(1)
    assert (found == np.arange(len(sets))).mean() > 0.9


@every_effect_model
def test_a_predicted_candidate_stands_beside_the_measured_ones(model, additive):
    data, effects = additive()
    seen = data.take(data.answer != 5)
    fitted = model().fit(replace(seen, candidates=data.candidates[:5])).with_effects(effects[5:])
    assert isinstance(fitted, EffectModel)
    x = (3 + effects).astype(np.float32)
    assert fitted.scores(x, np.full(6, 30)).argmax(1).tolist() == list(range(6))


def test_the_dictionary_is_a_ratio_of_normal_likelihoods(additive):
    data, _ = additive(n_candidates=3, n_genes=5)
    fitted = Dictionary().fit(data)
    known, x, n = fitted.effects, data.x[:4], np.array([1, 1, 7, 7])
    for one in [(0,), (0, 2)]:
        lone = abs(len(one) - 1)
        for row in range(4):
            noise = known.cell_variance / n[row]
            nothing = norm.logpdf(x[row], known.control, np.sqrt(noise + known.control_noise)).sum()
            mean = known.control + known.effect[list(one)].sum(0)
            spread = noise + known.doubt[list(one)].sum(0) + lone * known.control_noise
            expected = norm.logpdf(x[row], mean, np.sqrt(spread)).sum() - nothing
            assert fitted.set_scores(x, n, [one])[row, 0] == pytest.approx(expected, rel=1e-6)


def test_a_few_cells_are_drawn_to_the_mean_and_many_are_not(additive):
    few, truth = additive(cells=4, n_candidates=12)
    many, _ = additive(cells=400, n_candidates=12)
    moved = [np.abs(known.effect - known.measured).mean() for known in map(Effects.of, (few, many))]
    assert moved[0] > 10 * moved[1]
    effects = Effects.of(few)
    assert np.square(effects.effect - truth).mean() < np.square(effects.measured - truth).mean()
    assert (Effects.of(many).doubt < effects.doubt.mean()).all()


def test_an_effect_that_repeats_is_reliable_and_noise_is_not(additive):
    data, _ = additive(n_candidates=8, weak=4, n_genes=100)
    found = reliability(data, np.random.default_rng(0))
    assert found[:4].min() > 0.9
    assert found[4:].max() < 0.5


def test_a_class_that_was_not_seen_is_never_named(additive):
    data, _ = additive()
    seen = data.take(data.answer != 2)
    for model in (Logistic, Discriminant):
        scores = model().fit(seen).scores(data.x[:5], np.ones(5, np.int64))
        assert (scores[:, 2] == -np.inf).all()
        assert np.isfinite(np.delete(scores, 2, axis=1)).all()
