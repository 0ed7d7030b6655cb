from itertools import combinations
from math import comb

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scperturbmamba.models.inverse.base import membership, score_sets
from scperturbmamba.models.inverse.pairs import search, sets_of


class Sums:
    """A model whose scores are the profile itself, so that a pair has the sum of two."""

    def scores(self, x, n_cells):
        return x.astype(float)


class Liking:
    """A model that likes one pair more than its parts say."""

    def set_scores(self, x, n_cells, sets):
        bonus = np.array([5.0 if one == (0, 1) else 0.0 for one in sets])
        return x.astype(float) @ membership(sets, x.shape[1]).T + bonus


@given(st.sets(st.integers(0, 40), max_size=12), st.integers(0, 2), st.integers(0, 2))
def test_every_set_occurs_once_in_one_order(candidates, fewest, most):
    sets = sets_of(candidates, fewest=fewest, most=most)
    n = len(candidates)
    assert len(sets) == sum(comb(n, size) for size in range(fewest, most + 1))
    assert len(set(map(frozenset, sets))) == len(sets)
    assert all(list(one) == sorted(one) and set(one) <= candidates for one in sets)


def test_eighteen_singles_make_153_pairs():
    assert len(sets_of(range(18), fewest=2, most=2)) == 153


@given(st.integers(2, 8), st.integers(2, 9), st.integers(0, 5))
def test_the_beam_holds_all_singles_and_the_pairs_among_the_best(n, width, seed):
    x = np.random.default_rng(seed).normal(size=(3, n)).astype(np.float32)
    seen = 0
    for some in search(Sums(), x, np.ones(3, np.int64), n_candidates=n, most=2, max_candidates=width):
        for row, scores in zip(some.rows, some.scores):
            seen += 1
            best = np.argsort(-x[row], kind="stable")[:width]
            pairs = {frozenset(map(int, pair)) for pair in combinations(best, 2)}
            assert {frozenset(one) for one in some.sets if len(one) == 2} == pairs
            assert sorted(one for one in some.sets if len(one) == 1) == [(one,) for one in range(n)]
            np.testing.assert_allclose(scores, [x[row, list(one)].sum() for one in some.sets], rtol=1e-5, atol=1e-6)
    assert seen == 3


def test_a_wide_beam_finds_what_looking_at_all_pairs_finds():
    x = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    n_cells = np.ones(2, np.int64)
    narrow = list(search(Sums(), x, n_cells, n_candidates=6, fewest=2, most=2, max_candidates=5))
    full = next(search(Sums(), x, n_cells, n_candidates=6, fewest=2, most=2, max_candidates=6))
    for row, some in enumerate(narrow):
        assert some.sets[-10:][some.scores[0, -10:].argmax()] == full.sets[full.scores[row].argmax()]


def test_a_model_with_scores_of_its_own_for_sets_is_asked_for_them():
    x = np.zeros((1, 3), np.float32)
    found = score_sets(Liking(), x, np.ones(1, np.int64), [(), (0,), (0, 1), (1, 2)])
    assert found.tolist() == [[0, 0, 5, 0]]
    assert score_sets(Sums(), np.array([[1.0, 2.0, 4.0]]), np.ones(1, np.int64), [(), (0, 2)]).tolist() == [[0, 5]]
