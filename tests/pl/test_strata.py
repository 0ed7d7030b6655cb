import matplotlib.pyplot as plt
import numpy as np
import pytest

import scperturbmamba as spm


def rows(ax):
    return [one.get_text() for one in ax.get_yticklabels()]


def levels(ax):
    return [one.get_text() for one in ax.get_legend().get_texts()]


def dots(ax, row):
    """Return value and darkness of the points of a row, in the order drawn."""
    lines = [line for line in ax.lines if line.get_marker() == "o" and list(line.get_ydata()) == [row]]
    return [(float(line.get_xdata()[0]), -sum(line.get_color())) for line in lines]


def test_every_stratum_has_a_panel_with_its_levels_in_order_and_their_numbers(judged):
    axes = spm.pl.strata(judged)
    assert [ax.get_title(loc="left") for ax in axes] == ["By effect size", "By number of cells", "By what was seen"]
    assert levels(axes[0]) == ["weak (2)", "middle (2)", "strong (2)"]
    assert levels(axes[1]) == ["few (2)", "middle (2)", "many (2)"]
    assert levels(axes[2]) == ["unseen gene (2)", "1 of 2 seen (2)"]


def test_models_have_a_row_each_the_replicate_last_and_the_duplicate_none(judged):
    assert rows(spm.pl.strata(judged)[0]) == ["no change", "mean", "bimamba", "replicate"]
    assert rows(spm.pl.strata(judged, model=["bimamba", "mean"])[0]) == ["bimamba", "mean"]


def test_a_higher_level_is_darker(judged):
    found = dots(spm.pl.strata(judged, metric="mse")[0], 2)
    assert [value for value, _ in found] == pytest.approx([0.2, 0.21, 0.22])
    assert sorted(found, key=lambda one: one[1]) == found


def test_a_level_that_a_model_lacks_is_left_out(judged):
    table = judged.uns["benchmark"]["strata"]
    gone = (table["model"] == "mean") & (table["level"] == "weak")
    judged.uns["benchmark"]["strata"] = table[~gone]
    ax = spm.pl.strata(judged, metric="mse", figsize=(8, 3))[0]
    assert sum(np.isfinite(value) for value, _ in dots(ax, 1)) == 2
    ax.figure.canvas.draw()
    assert len(plt.get_fignums()) == 1


def test_combinations_of_which_more_was_seen_come_later(judged):
    table = judged.uns["benchmark"]["strata"]
    names = {"unseen gene": "2 of 2 seen", "1 of 2 seen": "0 of 2 seen"}
    judged.uns["benchmark"]["strata"] = table.assign(level=table["level"].replace(names))
    assert levels(spm.pl.strata(judged)[2]) == ["0 of 2 seen (2)", "2 of 2 seen (2)"]


@pytest.mark.parametrize("options", [{"metric": "mae"}, {"model": "gears"}])
def test_what_is_not_there_is_refused(judged, options):
    with pytest.raises(ValueError, match="must be one of"):
        spm.pl.strata(judged, **options)
