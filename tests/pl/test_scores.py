import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scperturbmamba as spm

plt.switch_backend("agg")


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def adata():
    rows = [
        {"model": model, "perturbation": f"P{number}", "metric": metric, "value": value + number}
        for model, value in (("predicted", 0.1), ("no_change", 0.5), ("mean", 0.3))
        for metric in ("mse", "pearson_delta")
        for number in range(3)
    ]
    adata = AnnData(np.ones((2, 2), np.float32))
    table = pd.DataFrame(rows)
    table.loc[0, "value"] = np.nan
    adata.uns["evaluation"] = {"scores": table.set_index(table.index.astype(str))}
    return adata


def test_a_panel_per_metric_and_a_row_per_model(adata):
    axes = spm.pl.scores(adata)
    assert len(axes) == 2 and [ax.get_title(loc="left")[:3] for ax in axes] == ["MSE", "Pea"]
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["predicted", "no change", "mean"]
    bottom, top = axes[0].get_ylim()
    assert bottom > top  # the first model is at the top


def test_points_are_conditions_and_bars_are_means(adata):
    mse, pearson = spm.pl.scores(adata)
    for ax, first in ((mse, [1.1, 2.1]), (pearson, [0.1, 1.1, 2.1])):
        points = [collection.get_offsets() for collection in ax.collections]
        assert sorted(points[0][:, 0].tolist()) == pytest.approx(first)
        assert [len(one) for one in points[1:]] == [3, 3]
        for row, one in enumerate(points):
            assert (np.abs(one[:, 1] - row) < 0.4).all()
        bars = [line.get_xdata()[0] for line in ax.lines if np.ptp(line.get_ydata()) == pytest.approx(0.68)]
        assert bars == pytest.approx([np.mean(first), 1.5, 1.3])


def test_the_network_stands_out_from_the_baselines(adata):
    colours = [tuple(one.get_facecolor()[0][:3]) for one in spm.pl.scores(adata)[0].collections]
    assert colours[0] != colours[1] == colours[2]


def test_the_same_scores_give_the_same_figure_and_are_left_as_they_were(adata):
    before = adata.uns["evaluation"]["scores"].copy()
    one, other = (spm.pl.scores(adata)[0].collections[1].get_offsets() for _ in range(2))
    np.testing.assert_array_equal(one, other)
    pd.testing.assert_frame_equal(adata.uns["evaluation"]["scores"], before)


def test_a_benchmark_is_drawn_too_and_its_absence_told(adata):
    adata.uns["benchmark"] = adata.uns.pop("evaluation")
    assert len(spm.pl.scores(adata)) == 2
    with pytest.raises(KeyError, match=r"spm\.tl\.evaluate"):
        spm.pl.scores(adata, key="other")
