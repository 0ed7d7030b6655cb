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
    history = pd.DataFrame(
        {
            "epoch": [5, 10, 15],
            "train_loss": [1.0, 0.6, 0.4],
            "val_loss": [1.1, 0.8, 0.9],
            "train_r2": [0.1, 0.5, 0.7],
            "val_r2": [-3.0, 0.3, 0.2],
        },
        index=["0", "1", "2"],
    )
    adata = AnnData(np.ones((2, 2), np.float32))
    adata.uns["predictor"] = {"history": history, "report": {"best_epoch": 10}}
    return adata


def lines(ax):
    return {line.get_label(): line.get_xydata().tolist() for line in ax.lines if not line.get_label().startswith("_")}


def test_both_sides_are_drawn_as_the_history_says(adata):
    loss, r2 = spm.pl.loss_curves(adata)
    assert lines(loss) == {
        "training": [[5, 1.0], [10, 0.6], [15, 0.4]],
        "validation": [[5, 1.1], [10, 0.8], [15, 0.9]],
    }
    assert lines(r2)["validation"] == [[5, -3.0], [10, 0.3], [15, 0.2]]
    assert [ax.get_xlabel() for ax in (loss, r2)] == ["epoch", "epoch"]
    assert r2.get_legend() is not None


def test_the_kept_epoch_is_marked_in_both_panels(adata):
    for ax in spm.pl.loss_curves(adata):
        assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [10]
    assert [text.get_text().strip() for text in spm.pl.loss_curves(adata)[0].texts] == ["kept"]
    adata.uns["predictor"].pop("report")
    assert not any(line.get_linestyle() == ":" for ax in spm.pl.loss_curves(adata) for line in ax.lines)


def test_a_first_epoch_that_is_very_bad_does_not_squeeze_the_rest(adata):
    low, high = spm.pl.loss_curves(adata)[1].get_ylim()
    assert low == pytest.approx(-1.05) and high > 1


def test_without_validation_only_training_is_drawn(adata):
    history = adata.uns["predictor"]["history"]
    adata.uns["predictor"]["history"] = history.drop(columns=["val_loss", "val_r2"])
    assert [list(lines(ax)) for ax in spm.pl.loss_curves(adata)] == [["training"], ["training"]]


def test_a_training_that_never_came_to_a_validation_gives_empty_panels(adata):
    adata.uns["predictor"]["history"] = pd.DataFrame()
    assert [lines(ax) for ax in spm.pl.loss_curves(adata)] == [{}, {}]


def test_drawing_writes_nothing_and_takes_the_size_asked_for(adata):
    before = adata.uns["predictor"]["history"].copy()
    axes = spm.pl.loss_curves(adata, figsize=(5, 2))
    assert axes[0].figure.get_size_inches().tolist() == [5, 2]
    pd.testing.assert_frame_equal(adata.uns["predictor"]["history"], before)
    assert set(adata.uns) == {"predictor"}


def test_an_untrained_screen_is_told_what_to_run(adata):
    with pytest.raises(KeyError, match=r"spm\.tl\.train_predictor"):
        spm.pl.loss_curves(adata, key="other")
