"""What holds for every metric of rows, and for every metric of a whole."""

import numpy as np
import pytest

from scperturbmamba import metrics

EVERY = np.arange(50)
CENTRE, WEIGHTS = np.linspace(-1, 1, 50), np.linspace(0, 2, 50)

# name: (score of truth, prediction and the genes in the columns; the best score)
ALONE = {
    "mse": (lambda a, b, genes: metrics.mse(a, b), 0),
    "mae": (lambda a, b, genes: metrics.mae(a, b), 0),
    "l2": (lambda a, b, genes: metrics.l2(a, b), 0),
    "weighted_mse": (lambda a, b, genes: metrics.weighted_mse(a, b, WEIGHTS[genes]), 0),
    "mse_top20": (lambda a, b, genes: metrics.mse(*metrics.on_top_genes(a, b, n=20)), 0),
    "pearson": (lambda a, b, genes: metrics.pearson(a, b), 1),
    "pearson_centred": (lambda a, b, genes: metrics.pearson_centred(a, b, CENTRE[genes]), 1),
    "spearman": (lambda a, b, genes: metrics.spearman(a, b), 1),
    "cosine": (lambda a, b, genes: metrics.cosine(a, b), 1),
    "r2_score": (lambda a, b, genes: metrics.r2_score(a, b), 1),
    "weighted_r2": (lambda a, b, genes: metrics.weighted_r2(a, b, WEIGHTS[genes]), 1),
    "direction_accuracy": (lambda a, b, genes: metrics.direction_accuracy(a, b), 1),
    "de_overlap": (lambda a, b, genes: metrics.de_overlap(a, b, np.abs(a) > 0.5), 1),
    "de_precision": (lambda a, b, genes: metrics.de_precision(a, b, np.abs(a) > 0.5, n=10), 1),
    "coverage": (lambda a, b, genes: metrics.coverage(a, b - 1, b + 1), 1),
}
AMONG = {
    "discrimination_l1": (lambda a, b, genes: metrics.discrimination(a, b), 1),
    "discrimination_l2": (lambda a, b, genes: metrics.discrimination(a, b, distance="l2"), 1),
    "discrimination_cosine": (lambda a, b, genes: metrics.discrimination(a, b, distance="cosine"), 1),
    "centroid_accuracy": (lambda a, b, genes: metrics.centroid_accuracy(a, b), 1),
    "rank_rmse": (lambda a, b, genes: metrics.rank(a, b), 0),
    "rank_cosine": (lambda a, b, genes: metrics.rank(a, b, metric="cosine"), 0),
}
WHOLE = {
    "r2": (lambda a, b, genes: metrics.r2(a, b, CENTRE[genes]), 1),
    "spread": (lambda a, b, genes: metrics.spread(a, b), 1),
    "similarity": (lambda a, b, genes: metrics.similarity(b), None),
    "energy_distance": (lambda a, b, genes: metrics.energy_distance(a, b), None),
    "mmd": (lambda a, b, genes: metrics.mmd(a, b), 0),
    "calibration_error": (lambda a, b, genes: metrics.calibration_error(a, b, 1 + WEIGHTS[genes]), None),
}
OF_ANSWERS = {  # right or wrong, no effects: tests/metrics/test_ranking.py
    "at_least_one", "f1", "f1_per_candidate", "hit_at_k", "ndcg_at_k", "recall_at_k", "reciprocal_rank",
}  # fmt: skip
INFINITE_COUNTS = {"de_overlap", "de_precision", "coverage"}  # an infinite change or end has a meaning
BY_ROW = {**ALONE, **AMONG}
ALL = {**BY_ROW, **WHOLE}


def test_every_metric_of_two_sides_is_under_the_laws():
    others = {
        "auc", "auc_per_gene", "mean_auc_per_gene", "effect_weights", "expected_calibration_error", "highest_genes",
        "interval_coverage", "on_top_genes", "paired_bootstrap", "scaled", "top_genes",
        *OF_ANSWERS,
    }  # fmt: skip
    assert {name for name in metrics.__all__ if not any(law.startswith(name) for law in ALL)} == others


@pytest.mark.parametrize("name", [name for name, (_, best) in ALL.items() if best is not None])
def test_a_perfect_prediction_has_the_best_score(name, sides):
    score, best = ALL[name]
    a, b = sides
    np.testing.assert_allclose(score(a, a, EVERY), best, atol=1e-12)
    assert np.abs(score(a, b, EVERY) - best).max() > 0


@pytest.mark.parametrize("name", BY_ROW)
def test_a_score_is_a_number_for_each_row(name, sides):
    found = BY_ROW[name][0](*sides, EVERY)
    assert (found.shape, found.dtype) == ((6,), np.float64)


@pytest.mark.parametrize("name", WHOLE)
def test_a_score_of_the_whole_is_a_float(name, sides):
    assert type(WHOLE[name][0](*sides, EVERY)) is float


@pytest.mark.parametrize("name", ALONE)
def test_a_row_is_scored_alone(name, sides):
    a, b = sides
    alone = [ALONE[name][0](a[row], b[row], EVERY)[0] for row in range(6)]
    np.testing.assert_allclose(ALONE[name][0](a, b, EVERY), alone)


@pytest.mark.parametrize("name", ALL)
def test_genes_come_in_any_order(name, sides):
    a, b = sides
    order = np.random.default_rng(3).permutation(50)
    np.testing.assert_allclose(ALL[name][0](a[:, order], b[:, order], order), ALL[name][0](a, b, EVERY))


@pytest.mark.parametrize("name", ALL)
def test_rows_come_in_any_order(name, sides):
    a, b = sides
    order, before = np.array([4, 0, 5, 2, 1, 3]), ALL[name][0](a, b, EVERY)
    np.testing.assert_allclose(ALL[name][0](a[order], b[order], EVERY), before[order] if name in BY_ROW else before)


@pytest.mark.parametrize(
    ("name", "hole"),
    [
        (name, hole)
        for name in ALL
        for hole in (np.nan, np.inf, -np.inf)
        if np.isnan(hole) or name not in INFINITE_COUNTS
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_a_gene_that_is_not_finite_on_one_side_is_left_out(name, hole, side, sides):
    genes = np.setdiff1d(EVERY, [3, 40])
    sides = (sides[side],) * 2 if name == "similarity" else sides
    wanted = ALL[name][0](sides[0][:, genes], sides[1][:, genes], genes)
    sides[side][:, [3, 40]] = hole
    np.testing.assert_allclose(ALL[name][0](*sides, EVERY), wanted)


@pytest.mark.parametrize("name", BY_ROW)
def test_a_row_without_a_finite_pair_is_nan_and_the_others_are_not(name, sides):
    a, b = sides
    a[1], b[2] = np.nan, np.nan if name in INFINITE_COUNTS else np.inf
    assert np.isnan(BY_ROW[name][0](a, b, EVERY)).tolist() == [False, True, True, False, False, False]


@pytest.mark.parametrize("name", sorted(set(ALL) - {"similarity", "coverage"}))
def test_arrays_of_two_shapes_are_refused(name):
    with pytest.raises(ValueError, match=r"must have.*\(4, 3\) and \(4, 5\)"):
        ALL[name][0](np.zeros((4, 3)), np.zeros((4, 5)), EVERY[:3])


@pytest.mark.parametrize("name", ["mse", "pearson", "rank_rmse"])
def test_an_array_of_three_dimensions_is_refused(name):
    with pytest.raises(ValueError, match=r"expected \(rows × genes\); found .*\(2, 2, 2\)"):
        ALL[name][0](np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), EVERY[:2])
