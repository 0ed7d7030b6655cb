from itertools import permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, ndcg_score

from scperturbmamba import metrics

LEVELS = st.lists(st.integers(0, 2), min_size=2, max_size=5)


def over_every_order(truth, scores, value):
    """The definition: the mean over all orders that put higher scores first."""
    orders = [
        order
        for order in permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in zip(order, order[1:]))
    ]
    return np.mean([value([truth[place] for place in order]) for order in orders])


def first(ranked):
    return ranked.index(1) + 1


@st.composite
def queries(draw):
    scores = draw(LEVELS)
    truth = draw(st.lists(st.integers(0, 1), min_size=len(scores), max_size=len(scores)).filter(any))
    return truth, scores


@given(queries(), st.integers(1, 4))
def test_equal_scores_are_averaged_over_every_order(query, k):
    truth, scores = query
    gain = [1 / np.log2(rank + 1) if rank <= k else 0.0 for rank in range(1, len(scores) + 1)]
    expected = {
        metrics.hit_at_k: lambda ranked: first(ranked) <= k,
        metrics.recall_at_k: lambda ranked: sum(ranked[:k]) / sum(ranked),
        metrics.ndcg_at_k: lambda ranked: np.dot(gain, ranked) / sum(gain[: sum(ranked)]),
    }
    for function, value in expected.items():
        found = function([truth], [scores], k=k)[0]
        assert found == pytest.approx(over_every_order(truth, scores, value))
    found = metrics.reciprocal_rank([truth], [scores])[0]
    assert found == pytest.approx(over_every_order(truth, scores, lambda ranked: 1 / first(ranked)))


def test_scores_that_are_all_the_same_are_at_chance():
    n, k = 153, 5
    truth, scores = np.eye(n)[:1], np.zeros((1, n))
    assert metrics.hit_at_k(truth, scores, k=k)[0] == pytest.approx(k / n)
    assert metrics.reciprocal_rank(truth, scores)[0] == pytest.approx(np.mean(1 / np.arange(1, n + 1)))
    two = np.zeros((1, 18))
    two[0, :2] = 1
    assert metrics.hit_at_k(two, np.zeros((1, 18)), k=4)[0] == pytest.approx(1 - comb(16, 4) / comb(18, 4))
    assert metrics.recall_at_k(two, np.zeros((1, 18)), k=4)[0] == pytest.approx(4 / 18)


def test_ndcg_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, scores = (rng.random((6, 12)) < 0.3).astype(int), rng.random((6, 12))
    truth[:, 0] = 1
    ours = metrics.ndcg_at_k(truth, scores, k=4)
    assert ours.mean() == pytest.approx(ndcg_score(truth, scores, k=4))


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1_is_that_of_scikit_learn(average):
    rng = np.random.default_rng(1)
    truth, named = rng.random((2, 30, 5)) < 0.4
    assert metrics.f1(truth, named, average=average) == pytest.approx(f1_score(truth, named, average=average))


def test_a_candidate_that_is_neither_right_nor_named_does_not_count():
    assert metrics.f1([[1, 0, 0]], [[1, 0, 0]], average="macro") == 1.0
    assert np.isnan(metrics.f1([[0, 0]], [[0, 0]]))


def test_a_query_without_a_right_candidate_has_no_number():
    for function in (metrics.hit_at_k, metrics.reciprocal_rank, metrics.recall_at_k, metrics.ndcg_at_k):
        assert np.isnan(function([[0, 0]], [[1.0, 2.0]])[0])
    assert np.isnan(metrics.at_least_one([[0, 0]], [[1, 0]])[0])


def test_one_of_two_genes_is_at_least_one():
    assert metrics.at_least_one([[1, 1, 0], [1, 1, 0]], [[0, 1, 1], [0, 0, 1]]).tolist() == [1.0, 0.0]


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="found NaN"):
        metrics.hit_at_k([[1, 0]], [[np.nan, 0.0]])
    with pytest.raises(ValueError, match="one shape"):
        metrics.hit_at_k([[1, 0]], [[0.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="micro"):
        metrics.f1([[1]], [[1]], average="weighted")


EVERY = [metrics.hit_at_k, metrics.recall_at_k, metrics.ndcg_at_k, metrics.reciprocal_rank, metrics.at_least_one]


@pytest.mark.parametrize("function", EVERY)
def test_the_right_candidates_first_are_the_best_and_the_order_of_candidates_is_of_no_account(function):
    rng = np.random.default_rng(2)
    truth = rng.random((7, 9)) < 0.3
    truth[:, 0] = True
    np.testing.assert_allclose(function(truth, truth.astype(float)), 1)
    scores, order = rng.integers(0, 3, (7, 9)).astype(float), rng.permutation(9)
    np.testing.assert_allclose(function(truth, scores), function(truth[:, order], scores[:, order]))


def test_the_macro_f1_is_the_mean_over_candidates():
    rng = np.random.default_rng(3)
    truth, named = rng.random((2, 30, 5)) < 0.4
    each = metrics.f1_per_candidate(truth, named)
    assert metrics.f1(truth, named, average="macro") == pytest.approx(each.mean())
    assert np.isnan(metrics.f1_per_candidate([[0, 1]], [[0, 1]])[0])
