import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import rbf_kernel

from scperturbmamba import metrics


def cells(n, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(shift, 1, size=(n, 12))


def test_energy_distance_agrees_with_all_pairs():
    x, y = cells(30), cells(47, 0.3, seed=1) * 2
    within = [cdist(one, one, "sqeuclidean").sum() / (len(one) * (len(one) - 1)) for one in (x, y)]
    wanted = 2 * cdist(x, y, "sqeuclidean").mean() - sum(within)
    assert metrics.energy_distance(x, y) == pytest.approx(wanted)
    assert metrics.energy_distance(y, x) == pytest.approx(wanted)


def test_two_samples_of_one_population_are_at_zero_on_average():
    found = [metrics.energy_distance(cells(20, seed=2 * i), cells(20, seed=2 * i + 1)) for i in range(300)]
    assert np.mean(found) == pytest.approx(0, abs=3 * np.std(found) / np.sqrt(300))
    assert metrics.energy_distance(cells(20), cells(20, 1, seed=1)) > 10


@pytest.mark.parametrize("gamma", [None, 0.02, 1.0])
def test_mmd_agrees_with_sklearn(gamma):
    x, y = cells(30), cells(47, 0.3, seed=1)
    both = np.vstack([x, y])
    used = gamma or 1 / np.median(cdist(both, both, "sqeuclidean")[np.triu_indices(77, 1)])
    wanted = rbf_kernel(x, x, used).mean() + rbf_kernel(y, y, used).mean() - 2 * rbf_kernel(x, y, used).mean()
    assert metrics.mmd(x, y, gamma=gamma) == pytest.approx(wanted)
    assert metrics.mmd(x + 1e4, y + 1e4, gamma=gamma) == pytest.approx(wanted)


def test_mmd_grows_with_the_shift_and_sees_a_change_of_width_alone():
    shifts = [metrics.mmd(cells(50), cells(50, shift, seed=1)) for shift in (0, 0.5, 1, 2)]
    assert shifts == sorted(shifts)
    assert metrics.mmd(cells(50), 3 * cells(50, seed=1)) > 2 * shifts[0]


def test_cells_that_are_all_the_same_are_no_distance_apart():
    same = np.ones((4, 3))
    assert metrics.mmd(same, same) == 0
    assert metrics.energy_distance(same, same) == 0


def test_a_gene_that_some_cell_lacks_is_left_out():
    x, y = cells(30), cells(20, 0.3, seed=1)
    for score in (metrics.energy_distance, metrics.mmd):
        wanted = score(x[:, 1:], y[:, 1:])
        holed = x.copy()
        holed[3, 0] = np.nan
        assert score(holed, y) == pytest.approx(wanted)
        assert np.isnan(score(np.full((30, 12), np.nan), y))


def test_too_few_cells_give_nan():
    assert np.isnan(metrics.energy_distance(cells(1), cells(9)))
    assert np.isnan(metrics.mmd(np.empty((0, 12)), cells(9)))


def test_populations_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"must have the same genes.*\(3, 12\) and \(3, 5\)"):
        metrics.mmd(cells(3), cells(3)[:, :5])
    with pytest.raises(ValueError, match="`gamma` must be a number above 0"):
        metrics.mmd(cells(3), cells(3), gamma=-1.0)
