from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from scperturbmamba import metrics
from scperturbmamba.models.inverse.answers import best_thresholds, decide, marginal
from scperturbmamba.models.inverse.dictionary import Dictionary
from scperturbmamba.models.inverse.held_out import (
    calibrate,
    cross_fitted,
    folds,
    held_out_scores,
    validate,
)
from scperturbmamba.models.inverse.pairs import sets_of
from scperturbmamba.models.inverse.posterior import Posterior


def drawn(n=6000, temperature=4.0, seed=0):
    """Answers drawn from the probabilities of logits; the scores are these logits, too sure by a factor."""
    rng = np.random.default_rng(seed)
    logits = np.hstack([np.zeros((n, 1)), 2 * rng.normal(size=(n, 3))])
    answer = (softmax(logits, axis=1).cumsum(1) < rng.random((n, 1))).sum(1) - 1
    return temperature * logits[:, 1:], answer, np.full(n, 10)


def probabilities(posterior, scores, n_cells):
    sets = sets_of(range(scores.shape[1]))
    return posterior.of_sets(np.hstack([np.zeros((len(scores), 1)), scores]), sets, n_cells)


def test_the_temperature_undoes_too_much_certainty():
    scores, answer, n_cells = drawn()
    posterior = Posterior.fit(scores, answer, n_cells, np.ones(len(answer)))
    found = probabilities(posterior, *drawn(seed=1)[::2])
    right = drawn(seed=1)[1] + 1 == found.argmax(1)
    assert metrics.expected_calibration_error(found.max(1), right) < 0.03
    raw = probabilities(Posterior(), *drawn(seed=1)[::2])
    assert metrics.expected_calibration_error(raw.max(1), right) > 0.1


def test_scores_that_say_nothing_leave_every_answer_as_likely():
    rng = np.random.default_rng(0)
    scores, answer = rng.normal(size=(2000, 4)), rng.integers(-1, 4, 2000)
    posterior = Posterior.fit(scores, answer, np.full(2000, 5), np.ones(2000))
    np.testing.assert_allclose(probabilities(posterior, scores, np.full(2000, 5)), 0.2, atol=0.06)


def test_all_pairs_together_are_as_likely_as_all_singles_before_a_profile_is_seen():
    sets = sets_of(range(5), most=2)
    found = Posterior().of_sets(np.zeros((1, len(sets))), sets, np.ones(1, np.int64))[0]
    sizes = np.array([len(one) for one in sets])
    assert found.sum() == pytest.approx(1)
    assert found[sizes == 2].sum() == pytest.approx(found[sizes == 1].sum())
    assert found[0] == pytest.approx(found[1])


def test_a_profile_of_more_cells_than_any_held_out_one_is_not_extrapolated():
    posterior = Posterior(np.array([0.1, -1.0, 0.0, 3.0, np.log(50)]))
    scores = np.array([[0.0, 1.0, 2.0]])
    one, other = (posterior.of_sets(scores, [(), (0,), (1,)], np.array([n])) for n in (50, 5000))
    np.testing.assert_allclose(one, other)


def test_what_cannot_be_told_from_the_control_is_one_answer_with_it():
    sets = [(), (0,), (1,), (0, 1)]
    probability = np.array([[0.3, 0.3, 0.4, 0.0], [0.1, 0.1, 0.8, 0.0], [0.0, 0.3, 0.3, 0.4]])
    answers = decide(probability, sets, np.array([False, True]))
    assert answers.sets == ((), (1,), (0, 1))  # with one part that is told, a pair is told
    np.testing.assert_allclose(answers.probability, [0.6, 0.8, 0.4])
    nothing = decide(probability[:, :2], sets[:2], np.array([False, False]))
    assert nothing.sets == ((), (), ())


def test_a_candidate_is_as_likely_as_all_sets_that_hold_it():
    found = marginal(np.array([[0.1, 0.2, 0.3, 0.4]]), [(), (0,), (1,), (0, 1)], 2)
    np.testing.assert_allclose(found, [[0.6, 0.7]])


def test_thresholds_are_those_of_the_best_f1():
    rng = np.random.default_rng(0)
    answer = rng.integers(-1, 3, 200)
    probability = np.clip(0.3 * np.eye(4)[answer + 1][:, 1:] + 0.5 * rng.random((200, 3)), 0, 1)
    found = best_thresholds(probability, answer, np.ones(200))
    for place in range(3):

        def f1_at(threshold, place=place):
            return metrics.f1((answer == place)[:, None], (probability[:, [place]] >= threshold))

        assert f1_at(found[place]) == pytest.approx(max(map(f1_at, probability[:, place])))
    assert best_thresholds(probability, np.full(200, -1), np.ones(200)).tolist() == [0.5, 0.5, 0.5]


def test_folds_hold_out_whole_batches_where_there_are_some(additive):
    data, _ = additive(n_batches=2)
    parts = list(folds(data, np.random.default_rng(0)))
    assert len(parts) == 2
    assert all(len(set(data.batch[held])) == 1 for held in parts)
    one = list(folds(additive()[0], np.random.default_rng(0)))
    assert np.sum(one, axis=0).tolist() == [1] * len(data.x)
    assert all(len(set(additive()[0].condition[held])) == 7 for held in one)


def test_a_validation_side_that_is_there_is_kept(additive):
    data, _ = additive()
    assert validate(data, np.random.default_rng(0)).is_val.mean() == pytest.approx(1 / 3, abs=0.02)
    own = replace(data, is_val=np.arange(len(data.x)) < 5)
    assert validate(own, np.random.default_rng(0)) is own


def test_the_control_is_asked_for_with_half_of_its_batch_at_most(additive):
    data, _ = additive(cells=60)
    held = held_out_scores(
        Dictionary().fit(data), replace(data, is_val=np.ones(len(data.x), bool)), np.random.default_rng(0)
    )
    assert held.n_cells[held.answer == -1].max() == 10
    assert held.n_cells[held.answer == 0].max() == 60
    total = {one: held.weight[(held.answer == one) & (held.size == 0)].sum() for one in (-1, 3)}
    assert total == {-1: pytest.approx(1), 3: pytest.approx(1)}


def test_a_calibrated_dictionary_is_right_as_often_as_it_says(additive):
    world, _ = additive(strength=0.5, cells=240, n_candidates=10)
    odd = np.arange(len(world.x)) % 2 == 1
    train, rng = world.take(~odd), np.random.default_rng(0)
    posterior = calibrate(cross_fitted(Dictionary, train, rng), train, rng)
    fitted = Dictionary().fit(train)
    held = held_out_scores(fitted, replace(world.take(odd), is_val=np.ones(odd.sum(), bool)), rng)
    found = probabilities(posterior, held.scores, held.n_cells)
    right = found.argmax(1) == held.answer + 1
    assert metrics.expected_calibration_error(found.max(1), right) < 0.06
    again = Posterior.from_state(posterior.state())
    np.testing.assert_array_equal(probabilities(again, held.scores, held.n_cells), found)
    assert again.extended(2).detectable[-2:].all()
