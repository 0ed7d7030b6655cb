import matplotlib.pyplot as plt
import numpy as np
import pytest

import scperturbmamba as spm

N = 6


def texts(ax):
    return [text.get_text().strip() for text in ax.texts]


def set_scores(adata, model, metric, values):
    table = adata.uns["benchmark"]["scores"]
    for number, value in enumerate(values):
        here = (table["model"] == model) & (table["metric"] == metric) & (table["perturbation"] == f"P{number}")
        table.loc[here, "value"] = value


def test_a_point_is_a_condition_with_the_baseline_to_the_right(judged):
    ax = spm.pl.paired(judged)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("mean", "bimamba", "MSE")
    (points,) = [one.get_offsets() for one in ax.collections]
    np.testing.assert_allclose(points[:, 0], 0.1 + 0.01 * np.arange(N))
    np.testing.assert_allclose(points[:, 1], 0.2005 + 0.01 * np.arange(N))
    assert ax.get_xlim() == ax.get_ylim()


@pytest.mark.parametrize(("metric", "model_wins"), [("mse", False), ("pearson_delta", True)])
def test_the_better_side_is_named_whichever_way_the_metric_points(judged, metric, model_wins):
    said = texts(spm.pl.paired(judged, metric=metric))
    assert f"bimamba better: {N if model_wins else 0} of {N}" in said
    assert f"mean better: {0 if model_wins else N} of {N}" in said


def test_the_shade_lies_where_the_model_is_better(judged):
    for metric, inside in (("mse", (0.9, 0.1)), ("pearson_delta", (0.1, 0.9))):
        ax = spm.pl.paired(judged, metric=metric)
        (low, high), (shade,) = ax.get_xlim(), ax.patches
        point = [low + share * (high - low) for share in inside]
        assert shade.get_path().contains_point(point)


def test_the_conditions_that_differ_most_are_named(judged):
    set_scores(judged, "mean", "mse", [0.1, 0.2, 0.3, 0.4, 0.5, 0.9])
    set_scores(judged, "bimamba", "mse", [0.1, 0.2, 0.3, 0.9, 0.5, 0.1])
    assert texts(spm.pl.paired(judged))[2:] == ["P5", "P3"]  # those that are equal are not


def test_a_name_that_looks_like_mathematics_is_drawn_as_it_is(judged):
    table = judged.uns["benchmark"]["scores"]
    table["perturbation"] = table["perturbation"].replace({"P1": "$x_{", "P2": "a$b$"})
    spm.pl.paired(judged).get_figure().canvas.draw()


def test_a_panel_of_the_user_s_and_any_two_models_are_taken(judged):
    _, (one, other) = plt.subplots(1, 2)
    assert spm.pl.paired(judged, ax=one) is one
    ax = spm.pl.paired(judged, "bimamba", model="no_change", metric="mae", ax=other)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("bimamba", "no change")
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"baseline": "ridge"}, r"`baseline` must be one of \['no_change', 'mean', 'bimamba'\]; found 'ridge'"),
        ({"model": "replicate"}, r"`model` must be one of .*'replicate'"),
        ({"metric": "rmse"}, r"'rmse'"),
    ],
)
def test_what_is_not_there_is_refused(judged, options, text):
    with pytest.raises(ValueError, match=text):
        spm.pl.paired(judged, **options)
