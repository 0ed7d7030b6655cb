"""Drawn profiles against a world whose effects are known: 6 genes' worth of perturbations, 12 genes, two batches."""

import numpy as np
import pytest

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.models.inverse.drawn import Shares
from scperturbmamba.models.inverse.effects import Effects
from scperturbmamba.models.inverse.held_profiles import held_profiles
from scperturbmamba.models.inverse.profile_scale import ProfileScale
from scperturbmamba.models.inverse.synthetic import ProfileDraw, cell_noise

N_GENES, N_SINGLES, N_CELLS = 12, 6, 400
RNG = np.random.default_rng(7)
BASE = RNG.uniform(2, 4, N_GENES)
EFFECTS = RNG.normal(0, 0.8, (N_SINGLES, N_GENES))
NOISE = RNG.uniform(0.3, 0.6, N_GENES)


def world(n_cells=N_CELLS, seed=0, n_batches=2, val=0.0):
    """Return cells of a control and six singles; gene 0 and gene 1 share half of their noise."""
    rng = np.random.default_rng(seed)
    conditions = (Condition(), *(Condition.of(f"P{number}") for number in range(N_SINGLES)))
    condition = np.repeat(np.arange(len(conditions)), n_cells)
    mean = BASE + np.vstack([np.zeros(N_GENES), EFFECTS])[condition]
    noise = rng.normal(size=mean.shape)
    noise[:, 1] = np.sqrt(0.5) * (noise[:, 0] + noise[:, 1])
    return InverseData(
        genes=tuple(f"G{number}" for number in range(N_GENES)),
        x=(mean + NOISE * noise).astype(np.float32),
        condition=condition,
        conditions=conditions,
        candidates=tuple(one.parts[0] for one in conditions[1:]),
        batch=rng.integers(0, n_batches, len(condition)),
        is_val=rng.random(len(condition)) < val,
    )


def drawn(n, *, doubles=0.0, controls=0.0, cells=1, seed=1, data=None):
    data = data or world()
    return ProfileDraw.of(data, Effects.of(data)).draw(n, Shares(doubles, controls, cells), random_state=seed)


def standard_error(n_profiles, n_means):
    """Return that of a mean of single-cell profiles around a sum of measured means of 400 cells, per gene."""
    return NOISE * np.sqrt(1 / n_profiles + n_means / N_CELLS)


def test_a_pair_has_the_mean_that_the_sum_of_the_effects_says():
    made = drawn(6000, doubles=1.0)
    for a in range(N_SINGLES):
        for b in range(a):
            rows = (made.y[:, a] > 0) & (made.y[:, b] > 0)
            error = made.x[rows].mean(0) - (BASE + EFFECTS[a] + EFFECTS[b])
            assert (np.abs(error) < 4.5 * standard_error(rows.sum(), 3)).all()


def test_a_single_has_its_own_mean_and_a_control_that_of_the_control():
    made = drawn(4000, controls=0.3)
    assert (np.abs(made.x[made.y.sum(1) == 0].mean(0) - BASE) < 4.5 * standard_error(1000, 1)).all()
    for a in range(N_SINGLES):
        rows = made.y[:, a] > 0
        assert (np.abs(made.x[rows].mean(0) - BASE - EFFECTS[a]) < 4.5 * standard_error(rows.sum(), 1)).all()


@pytest.mark.parametrize("cells", [1, 20])
def test_the_noise_of_a_profile_is_that_of_so_many_cells_and_of_what_is_not_known_of_the_effect(cells):
    data = world()
    source = ProfileDraw.of(data, Effects.of(data))
    rng = np.random.default_rng(2)
    noise = source._noise(np.full(4000, cells), rng)
    np.testing.assert_allclose(noise.var(0), NOISE**2 / cells, rtol=0.15)
    correlation = np.corrcoef(noise.T)
    assert correlation[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.05)
    assert np.abs(correlation[2:, 2:] - np.eye(N_GENES - 2)).max() < 0.1


def test_of_few_cells_the_effect_is_less_certain():
    few, many = (ProfileDraw.of(data, Effects.of(data)).doubt.mean() for data in (world(n_cells=10), world()))
    assert few == pytest.approx(many * np.sqrt(N_CELLS / 10), rel=0.15)


def test_the_numbers_of_cells_are_even_in_the_log_and_end_at_the_most():
    n_cells = drawn(4000, cells=100).n_cells
    assert n_cells.min() == 1
    assert n_cells.max() == 100
    assert np.median(n_cells) == pytest.approx(10, abs=1.5)


def test_shares_are_kept_and_a_pair_is_of_two_different_candidates():
    made = drawn(4000, doubles=0.5, controls=0.2)
    counts = np.bincount(made.y.sum(1).astype(int), minlength=3) / 4000
    np.testing.assert_allclose(counts, [0.2, 0.3, 0.5], atol=0.03)
    singles = made.y[made.y.sum(1) == 1].mean(0)
    np.testing.assert_allclose(singles, 1 / N_SINGLES, atol=0.04)


def test_the_same_seed_draws_the_same_profiles_and_another_seed_others():
    one, same, other = (drawn(50, doubles=0.3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.x, same.x)
    assert not np.array_equal(one.x, other.x)


def test_nothing_is_drawn_from_validation_cells():
    data = world(val=0.3)
    spoiled = data.x.copy()
    spoiled[data.is_val] = 1e6
    other = InverseData(**{**vars(data), "x": spoiled})
    np.testing.assert_array_equal(drawn(200, doubles=0.3, data=other).x, drawn(200, doubles=0.3, data=data).x)


def test_a_measured_combination_is_drawn_with_its_own_mean_and_label():
    data = world()
    both = Condition.of("P0", "P1")
    x = (BASE + 3 + NOISE * np.random.default_rng(5).normal(size=(N_CELLS, N_GENES))).astype(np.float32)
    more = InverseData(
        genes=data.genes,
        x=np.vstack([data.x, x]),
        condition=np.append(data.condition, np.full(N_CELLS, len(data.conditions))),
        conditions=(*data.conditions, both),
        candidates=data.candidates,
        batch=np.append(data.batch, np.zeros(N_CELLS, np.int64)),
        is_val=np.zeros(len(data.x) + N_CELLS, bool),
    )
    made = drawn(3000, data=more)
    rows = made.y.sum(1) == 2
    assert (made.y[rows][:, :2] == 1).all()
    assert (np.abs(made.x[rows].mean(0) - BASE - 3) < 4.5 * standard_error(rows.sum(), 2)).all()


def test_without_perturbed_cells_the_error_says_so():
    data = world()
    with pytest.raises(ValueError, match="control cells only"):
        ProfileDraw.of(data.take(data.condition == 0), Effects.of(data))


def test_cells_differ_from_the_mean_of_their_condition_and_batch_by_what_they_truly_differ():
    noise = [cell_noise(world(n_cells=4, seed=seed, n_batches=1)) for seed in range(6)]
    assert np.mean([(one.var(0) / NOISE**2).mean() for one in noise]) == pytest.approx(1, abs=0.1)
    assert np.abs(noise[0].reshape(-1, 4, N_GENES).sum(1)).max() < 1e-4
    assert not len(cell_noise(world(n_cells=1)))


def test_held_profiles_are_means_of_validation_cells_and_sums_of_them():
    data = world(val=0.5)
    made = held_profiles(data, 3000, Shares(0.4, 0.2, 30), random_state=0)
    error = made.x - (BASE + made.y @ EFFECTS)
    z = error * np.sqrt(made.n_cells)[:, None] / NOISE
    for k in range(3):
        rows = made.y.sum(1) == k
        assert (rows.mean(), z[rows].std()) == (pytest.approx([0.2, 0.4, 0.4][k], abs=0.04), pytest.approx(1, abs=0.1))


def test_without_validation_cells_there_is_nothing_to_hold():
    assert held_profiles(world(), 10, Shares(0.3, 0.1, 10), random_state=0) is None


def test_the_scale_makes_control_profiles_of_any_number_of_cells_as_wide_as_their_noise_says():
    data = world()
    scale = ProfileScale.of(Effects.of(data))
    assert ((scale.spread > 0.95 * NOISE) & (scale.spread < 1.5 * NOISE)).all()
    assert scale.signal == pytest.approx((EFFECTS**2 / scale.spread**2).mean(), rel=0.1)
    own = (NOISE**2 / scale.spread**2).mean()
    for n in (1, 25):
        x = BASE + NOISE / np.sqrt(n) * np.random.default_rng(3).normal(size=(2000, N_GENES))
        z = scale.apply(x.astype(np.float32), np.full(2000, n))
        assert z.std() == pytest.approx(np.sqrt(own / n / (1 / n + scale.signal)), rel=0.1)
