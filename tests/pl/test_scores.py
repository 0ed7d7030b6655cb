import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import scperturbmamba as spm
from scperturbmamba.metrics import paired_bootstrap
from scperturbmamba.pl._style import ACCENT, MUTED, WARN

N = 6


def points(ax):
    """Return the offsets of the points of each model, from the top."""
    return [one.get_offsets() for one in ax.collections if hasattr(one, "get_sizes") and len(one.get_sizes())]


def texts(labels):
    return [one.get_text() for one in labels]


def test_the_headline_is_drawn_with_a_row_per_model_in_the_order_of_the_table(judged):
    axes = spm.pl.scores(judged)
    assert [ax.get_title(loc="left") for ax in axes] == [
        "MSE", "L2", "Pearson delta", "Centred Pearson delta", "Direction of top 20", "Discrimination (L1)",
    ]  # fmt: skip
    assert texts(axes[0].get_yticklabels()) == ["no change", "mean", "bimamba"]
    bottom, top = axes[0].get_ylim()
    assert bottom > top  # the first model is at the top
    assert [ax.get_xlabel() for ax in axes[1:3]] == ["lower is better", "higher is better"]


def test_a_point_is_a_condition_averaged_over_seeds_of_all_genes(judged):
    table = judged.uns["benchmark"]["scores"]
    table.loc[table["genes"] != "all", "value"] = 99.0
    (ax,) = spm.pl.scores(judged, metrics="mse")
    found = points(ax)
    assert [len(one) for one in found] == [N, N, N]
    assert sorted(found[2][:, 0].tolist()) == pytest.approx([0.2005 + 0.01 * number for number in range(N)])
    for row, one in enumerate(found):
        assert (np.abs(one[:, 1] - row) < 0.4).all()


def test_the_mean_has_the_interval_of_a_bootstrap_and_the_replicate_a_band(judged):
    (ax,) = spm.pl.scores(judged, metrics=["mae"])
    values = 0.1 + 0.01 * np.arange(N)
    mean, low, high = paired_bootstrap(values)
    spans = [line for line in ax.lines if list(line.get_ydata()) == [1, 1]]
    assert spans[0].get_xdata().tolist() == pytest.approx([low, high])
    dots = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert dots == pytest.approx([mean - 0.1, mean, mean + 0.1005])
    replicate = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    assert replicate == pytest.approx([0.325])
    assert any(patch.get_x() < 0.325 < patch.get_x() + patch.get_width() for patch in ax.patches)


def test_networks_stand_out_baselines_do_not_and_a_leak_warns(judged):
    table = judged.uns["benchmark"]["scores"]
    judged.uns["benchmark"]["scores"] = pd.concat(
        [table, table[table["model"] == "mean"].assign(model="embedding_ridge:X_pca")], ignore_index=True
    )
    axes = spm.pl.scores(judged, metrics="mse")
    colours = [to_hex(one.get_facecolor()[0][:3]) for one in axes[0].collections]
    assert colours == [MUTED, MUTED, ACCENT, WARN]
    assert texts(axes[0].get_yticklabels())[-1] == "embedding ridge:X_pca"
    assert "by a model that leaks" in texts(axes[0].figure.legends[0].get_texts())


def test_a_model_without_a_number_keeps_its_row(judged):
    table = judged.uns["benchmark"]["scores"]
    table.loc[(table["model"] == "mean"), "value"] = np.nan
    (ax,) = spm.pl.scores(judged, metrics="mse")
    assert texts(ax.get_yticklabels()) == ["no change", "mean", "bimamba"]
    assert not [line for line in ax.lines if list(line.get_ydata()) == [1, 1]]


def test_the_same_scores_give_the_same_figure_and_are_left_as_they_were(judged):
    before = judged.uns["benchmark"]["scores"].copy()
    one, other = (points(spm.pl.scores(judged, metrics="l2")[0])[1] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    pd.testing.assert_frame_equal(judged.uns["benchmark"]["scores"], before)


def test_an_evaluation_is_drawn_too_and_its_absence_told(judged):
    judged.uns["evaluation"] = judged.uns.pop("benchmark")
    del judged.uns["evaluation"]["scores"]["seed"]
    assert len(spm.pl.scores(judged, figsize=(9, 5))) == 6
    with pytest.raises(KeyError, match=r"spm\.tl\.evaluate"):
        spm.pl.scores(judged, key="other")
    with pytest.raises(ValueError, match=r"`metrics` must be one of .*'mae'.*'rmse'"):
        spm.pl.scores(judged, metrics="rmse")
