import numpy as np
import pytest
from scipy.spatial.distance import cdist

from scperturbmamba import metrics
from scperturbmamba.metrics._distances import distances

NAMES = {"l1": "cityblock", "l2": "sqeuclidean", "cosine": "cosine"}
TARGET = np.array([7, -1, 12, 30, 8, -1])
SCORES = {
    "discrimination": metrics.discrimination,
    "discrimination_l2": lambda a, b: metrics.discrimination(a, b, distance="l2"),
    "discrimination_cosine": lambda a, b: metrics.discrimination(a, b, distance="cosine"),
    "centroid_accuracy": metrics.centroid_accuracy,
    "rank": metrics.rank,
    "rank_cosine": lambda a, b: metrics.rank(a, b, metric="cosine"),
}


def noise(rows, genes=50, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, genes))


@pytest.mark.parametrize("distance", NAMES)
def test_distances_agree_with_scipy_after_genes_are_left_out(distance, sides):
    a, b = sides
    b[4, [1, 9]] = np.nan
    a[2, 3] = np.inf
    a[5] = np.nan
    left_out = np.zeros(a.shape, dtype=bool)
    left_out[TARGET >= 0, TARGET[TARGET >= 0]] = True
    measured = distances(*(np.where(np.isfinite(one), one, np.nan) for one in (b, a)), distance, left_out)
    for query in range(6):
        keep = ~left_out[query] & np.isfinite(b[query])
        keep[3] = False
        wanted = cdist(b[[query]][:, keep], a[:5][:, keep], NAMES[distance])[0]
        np.testing.assert_allclose(measured[query, :5], wanted)
    assert np.isnan(measured[:, 5]).all()


@pytest.mark.parametrize("distance", NAMES)
def test_discrimination_agrees_with_a_loop(distance, sides):
    a, b = sides
    b[:, 7] += 9  # a large error in the target of the first row
    found = metrics.discrimination(a, b, distance=distance, target=TARGET)
    for row in range(6):
        keep = np.arange(50) != TARGET[row]
        measured = cdist(b[[row]][:, keep], a[:, keep], NAMES[distance])[0]
        assert found[row] == pytest.approx(1 - np.argsort(measured).tolist().index(row) / 6)


def test_centroid_accuracy_and_rank_agree_with_loops(sides):
    a, b = sides
    for measured, found, best in (
        (cdist(b, a), metrics.centroid_accuracy(a, b), 1),
        (cdist(a, b), metrics.rank(a, b), 0),
        (cdist(a, b, "cosine"), metrics.rank(a, b, metric="cosine"), 0),
    ):
        for row in range(6):
            farther = np.mean([measured[row, other] > measured[row, row] for other in range(6) if other != row])
            assert found[row] == pytest.approx(farther if best else 1 - farther)


@pytest.mark.parametrize("name", SCORES)
def test_a_guess_is_at_chance(name):
    n = 400
    chance = (n + 1) / (2 * n) if name.startswith("discrimination") else 0.5
    assert SCORES[name](noise(n), noise(n, seed=1)).mean() == pytest.approx(chance, abs=0.04)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_that_are_all_the_same_are_exactly_at_chance(name, dtype):
    truth = noise(7)
    same = np.tile((truth.mean(0) + 0.1).astype(dtype), (7, 1))
    chance = 8 / 14 if name.startswith("discrimination") else 0.5
    scores = SCORES[name](truth, same)
    assert scores.mean() == pytest.approx(chance)
    if name.startswith("rank"):
        assert scores.tolist() == [0.5] * 7


def test_two_profiles_that_are_equal_share_their_place():
    truth = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
    assert metrics.centroid_accuracy(truth, truth).tolist() == [0.75, 0.75, 1]
    assert metrics.rank(truth, truth).tolist() == [0.25, 0.25, 0]
    np.testing.assert_allclose(metrics.discrimination(truth, truth), [5 / 6, 5 / 6, 1])


def test_without_another_row_there_is_nothing_to_tell_apart():
    row = noise(1)
    assert metrics.discrimination(row, row).tolist() == [1]
    assert np.isnan([metrics.centroid_accuracy(row, row), metrics.rank(row, row)]).all()


@pytest.mark.parametrize("name", SCORES)
def test_a_row_that_is_missing_is_no_candidate(name, sides):
    a, b = sides
    keep = [0, 1, 3, 4, 5]
    (b if name.startswith("rank") else a)[2] = np.nan
    np.testing.assert_allclose(SCORES[name](a, b)[keep], SCORES[name](a[keep], b[keep]))


def test_a_target_or_a_distance_that_cannot_be_is_refused(sides):
    for target in ([0] * 5, [0.0] * 6, [50] * 6, [-2] * 6):
        with pytest.raises(ValueError, match=r"`target` must hold an integer per row \(6\)"):
            metrics.discrimination(*sides, target=target)
    with pytest.raises(ValueError, match="`distance` must be one of"):
        metrics.discrimination(*sides, distance="l3")
    with pytest.raises(ValueError, match="`metric` must be one of"):
        metrics.rank(*sides, metric="l1")
