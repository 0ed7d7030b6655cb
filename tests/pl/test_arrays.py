"""Figures of whole tables of effects, as the report of a benchmark shows them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from scperturbmamba.pl._calibration import calibration, draw_calibration
from scperturbmamba.pl._collapse import correlations, draw_collapse, leaf_order
from scperturbmamba.pl._density import agreement_of, draw_density


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def measured(rng):
    return rng.normal(size=(8, 40)).astype(np.float32)


def texts(ax):
    return "\n".join(text.get_text() for text in ax.texts)


def test_the_density_tells_correlation_and_slope_of_every_pair_that_was_measured(measured):
    predicted = 0.5 * measured
    measured[0, 0], predicted[1, 1] = np.nan, np.nan
    ax = draw_density(plt.subplots()[1], predicted, measured, title="half")
    assert "r = 1.00" in texts(ax) and "slope = 0.50" in texts(ax)
    assert ax.collections[0].get_array().sum() > 0 and ax.get_xlim() == ax.get_ylim()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("measured effect", "predicted effect")


def test_a_constant_side_has_no_slope_or_none_at_all(measured):
    assert agreement_of(measured.ravel().astype(float), np.zeros(measured.size)) == (0.0, 0.0)
    assert np.isnan(agreement_of(np.zeros(5), np.arange(5.0))[1])
    assert np.isnan(agreement_of(np.zeros(0), np.zeros(0))).all()
    draw_density(plt.subplots()[1], np.zeros_like(measured), np.zeros_like(measured)).figure.canvas.draw()


def test_entries_beyond_the_axes_are_counted(measured):
    measured = np.tile(measured, (20, 1))
    measured[0, 0] = 1e3
    assert "beyond" in texts(draw_density(plt.subplots()[1], measured, measured))


def test_correlations_are_pearson_s_and_zero_with_a_constant_row(measured):
    np.testing.assert_allclose(correlations(measured), np.corrcoef(measured), atol=1e-6)
    measured[0, 5] = np.nan
    np.testing.assert_allclose(correlations(measured), np.corrcoef(np.delete(measured, 5, 1)), atol=1e-6)
    measured[3] = 2.0
    assert (correlations(measured)[3] == 0).all()


def test_maps_have_one_order_and_one_scale(measured):
    measured[5] = measured[0]  # twins lie together
    _, axes = plt.subplots(1, 2)
    names = [f"P{number}" for number in range(8)]
    draw_collapse(axes, {"measured": measured, "mean": np.tile(measured[:1], (8, 1))}, names)
    shown = [text.get_text() for text in axes[0].get_yticklabels()]
    assert sorted(shown) == names and abs(shown.index("P0") - shown.index("P5")) == 1
    one, other = (ax.images[0] for ax in axes)
    assert one.get_clim() == other.get_clim() == (-1, 1)
    order = [names.index(name) for name in shown]
    np.testing.assert_allclose(one.get_array(), np.corrcoef(measured)[np.ix_(order, order)], atol=1e-6)
    np.testing.assert_allclose(other.get_array(), 1, atol=1e-6)
    assert [ax.get_title(loc="left") for ax in axes] == ["measured", "mean"]
    assert axes[1].get_xlabel() == "mean r = 1.00"


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows_are_drawn_too(measured, n):
    assert sorted(leaf_order(correlations(measured[:n])).tolist()) == list(range(n))
    draw_collapse(plt.subplots(1, 2)[1], {"measured": measured[:n], "m": measured[:n]}, ["a", "b", "c"][:n])


def test_calibration_gives_the_mean_of_each_bin_and_an_error_over_rows(rng):
    predicted = rng.normal(size=(60, 200))
    measured = 2 * predicted + rng.normal(size=(60, 1))  # an error that all genes of a row share
    x, y, error = calibration(predicted, measured)
    assert (np.diff(x) > 0).all() and (np.abs(y - 2 * x) < 2 * error + 0.05).mean() > 0.9
    assert np.median(error) == pytest.approx(1.96 / np.sqrt(60), rel=0.35)  # not of 12,000 independent entries
    assert "slope = 2.0" in texts(draw_calibration(plt.subplots()[1], predicted, measured))


def test_one_prediction_for_all_is_one_bin_that_is_named(measured):
    x, y, _ = calibration(np.full_like(measured, 0.5), measured)
    assert x.tolist() == [0.5] and y == pytest.approx([measured.mean()], abs=1e-6)
    assert texts(draw_calibration(plt.subplots()[1], np.zeros_like(measured), measured)) == "one prediction for all"
    assert [len(one) for one in calibration(np.full_like(measured, np.nan), measured)] == [0, 0, 0]
    draw_calibration(plt.subplots()[1], np.full_like(measured, np.nan), measured)
