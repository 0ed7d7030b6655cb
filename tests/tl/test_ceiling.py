"""The experiment repeated: on the toy world, whose truth is known."""

import numpy as np
import pytest
from scipy import stats

import scperturbmamba as spm
from scperturbmamba.tl._ceiling import ceiling_rows, split_half_correlation
from scperturbmamba.tl._truth import measured_effects, measured_halves, measured_sides


@pytest.fixture(scope="module")
def world():
    adata = spm.datasets.toy(n_genes=60, n_singles=20, n_doubles=2, cells_per_condition=120, n_control=900)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata, test_size=0.5)
    return adata


def halves_of(adata, seed=0):
    options = {"genes": list(adata.var_names), "context": None, "split": "split", "sides": ["test"]}
    return measured_effects(adata, **options), measured_halves(adata, seed=seed, **options)


def test_halves_share_no_cell_and_make_the_whole(world):
    whole, (one, other) = halves_of(world)
    assert list(one.rows["label"]) == list(other.rows["label"]) == list(whole.rows["label"])
    assert (one.n_cells + other.n_cells == whole.n_cells).all()
    assert (np.abs(one.n_cells - other.n_cells) <= 1).all()
    control = world[(world.obs["split"] == "test") & world.obs["is_control"]]
    mean = np.asarray(control.X.mean(0)).ravel()
    total = one.n_cells[:, None] * one.delta + other.n_cells[:, None] * other.delta
    rest = whole.n_cells[:, None] * whole.delta - total
    slack = 0.5 * whole.n_cells.max() * np.abs(mean).max()  # halves of the control differ by noise only
    assert np.abs(rest).max() < slack


def test_the_seed_decides_which_half_a_cell_is_in(world):
    _, (one, _) = halves_of(world)
    _, (again, _) = halves_of(world)
    _, (other, _) = halves_of(world, seed=1)
    assert np.array_equal(one.delta, again.delta) and not np.array_equal(one.delta, other.delta)


def test_t_is_the_effect_over_its_welch_error(world):
    whole, _ = halves_of(world)
    on_side = world[(world.obs["split"] == "test").to_numpy()]
    control = on_side[on_side.obs["is_control"].to_numpy()].X.toarray().astype(float)
    others = on_side[~on_side.obs["is_control"].to_numpy() & on_side.obs["perturbation"].notna().to_numpy()]
    for row in (0, 3):
        label = whole.rows["label"].iloc[row]
        own = (others.obs["perturbation"] == label).to_numpy()
        cells = others[own].X.toarray().astype(float)
        expected = stats.ttest_ind(cells, control, equal_var=False).statistic
        np.testing.assert_allclose(whole.t[row], np.nan_to_num(expected), rtol=1e-3, atol=1e-3)
        rest = stats.ttest_ind(cells, others[~own].X.toarray().astype(float), equal_var=False).statistic
        np.testing.assert_allclose(whole.t_rest[row], np.nan_to_num(rest), rtol=1e-3, atol=1e-3)


def test_the_interpolated_duplicate_lies_between_the_mean_and_the_replicate(world):
    _, (_, replicate) = halves_of(world)
    centre = np.full_like(replicate.delta, 0.3)
    found = ceiling_rows(replicate, replicate.delta, centre)
    drawn, low, high = (
        found["interpolated_duplicate"],
        *(side(replicate.delta, centre) for side in (np.minimum, np.maximum)),
    )
    assert (drawn >= low - 1e-6).all() and (drawn <= high + 1e-6).all()
    sure = np.abs(replicate.t) > 10
    np.testing.assert_allclose(drawn[sure], replicate.delta[sure], rtol=1e-4)


def test_halves_of_strong_effects_agree_more_than_those_of_weak_ones(world):
    whole, halves = halves_of(world)
    r = split_half_correlation(halves)
    size = np.square(whole.delta).mean(1)
    assert stats.spearmanr(r, size)[0] > 0.4
    assert r[size.argmax()] > 0.8


def test_the_scale_is_0_at_the_mean_and_1_at_the_replicate(world):
    adata = world.copy()
    spm.tl.benchmark(adata, ["no_change", "mean", "additive"])
    scaled = adata.uns["benchmark"]["scaled"]
    known = scaled.loc["replicate"].notna()
    assert known.sum() > 20
    np.testing.assert_allclose(scaled.loc["mean", known], 0, atol=1e-6)
    np.testing.assert_allclose(scaled.loc["replicate", known], 1)
    assert scaled.loc["no_change", "pearson_delta_centred"] < 0.6


def test_the_replicate_beats_every_baseline_where_cells_are_many(world):
    adata = world.copy()
    spm.tl.benchmark(adata, ["no_change", "mean", "additive"])
    summary = adata.uns["benchmark"]["summary"]
    for name in ("pearson_delta_centred", "pds_l1", "direction_top20", "de_overlap"):
        assert summary.loc["replicate", name] == summary[name].drop("interpolated_duplicate").max()


def test_sides_are_measured_each_against_its_own_controls(world):
    options = {"genes": list(world.var_names), "context": None, "split": "split"}
    whole, halves = measured_sides(world, **options, response="expression")
    assert set(whole.rows["side"]) == {"train", "val", "test"}
    assert not whole.rows[["label", "context"]].duplicated().any()
    test = whole.rows["side"].to_numpy() == "test"
    alone, _ = halves_of(world)
    np.testing.assert_array_equal(whole.delta[test], alone.delta)
    assert len(halves[0].delta) == len(whole.delta)
