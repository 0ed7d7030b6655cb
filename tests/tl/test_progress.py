import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

import scperturbmamba as spm
from scperturbmamba.tl import _progress
from scperturbmamba.tl._progress import LiveCurves, ProgressBar, training_callbacks

plt.switch_backend("agg")


@pytest.fixture
def showing():
    spm.settings.progress = True
    yield
    spm.settings.progress = False


class FakeShell:
    """An IPython shell that runs a notebook."""


FakeShell.__name__ = "ZMQInteractiveShell"


@pytest.fixture
def notebook(monkeypatch):
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(figure)

    def display(figure, *, display_id):
        shown.append(figure)
        return Handle()

    fake = SimpleNamespace(version_info=(9, 0), get_ipython=FakeShell, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake.display)
    return shown


def test_nothing_is_shown_where_progress_is_off(screen, train_tiny, capsys):
    assert not spm.settings.progress and training_callbacks(3) == []
    train_tiny(screen)
    assert capsys.readouterr() == ("", "")


def test_a_bar_runs_over_the_epochs_with_the_latest_losses(screen, train_tiny, showing, capsys):
    assert [type(one) for one in training_callbacks(3)] == [ProgressBar]
    train_tiny(screen)
    shown = capsys.readouterr().err
    assert "training" in shown and "3/3" in shown and "val_loss" in shown and "val_r2" in shown


def test_the_bar_of_an_inverse_network_shows_its_losses(screen, showing, capsys):
    config = {"width": 8, "queries": 2, "epochs": 2, "units": 64}
    spm.tl.train_inverse(screen, model="mlp", key=None, mask=None, config=config)
    shown = capsys.readouterr().err
    last = screen.uns["inverse"]["history"].iloc[-1]
    assert "2/2" in shown
    assert all(f"{name}={last[name]:.3f}" in shown for name in ("train_loss", "val_loss", "val_f1"))


def test_the_bar_is_closed_after_an_error(screen, train_tiny, showing, monkeypatch):
    bars = []

    class Watched(ProgressBar):
        def on_train_epoch_end(self, trainer, module):
            bars.append(self.bar)
            raise OSError("disk full")

    monkeypatch.setattr(_progress, "ProgressBar", Watched)
    with pytest.raises(OSError, match="disk full"):
        train_tiny(screen)
    assert len(bars) == 1 and bars[0].disable


def test_a_notebook_gets_one_live_figure_that_is_drawn_anew_at_each_validation(screen, train_tiny, showing, notebook):
    assert [type(one) for one in training_callbacks(3)] == [ProgressBar, LiveCurves]
    open_figures = len(plt.get_fignums())
    train_tiny(screen, train={"epochs": 5, "every_n_epochs": 2})
    assert len(notebook) == 3  # after epochs 2, 4 and 5
    curves = [line for line in notebook[-1].axes[0].lines if line.get_label() in ("training", "validation")]
    assert [len(line.get_xdata()) for line in curves] == [3, 3]
    assert len(plt.get_fignums()) == open_figures
