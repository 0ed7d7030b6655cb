"""A screen says what single predictions say, and survives what happens to long runs."""

import anndata
import numpy as np
import pytest

import scperturbmamba as spm
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.tl import predict, screen


@pytest.fixture
def asked(trained):
    return [str(name) for name in trained.var_names[:5]] + [str(trained.obs["perturbation"].cat.categories[0])]


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(BiMamba, "batch_size", lambda self: 2)


def test_a_screen_is_its_predictions(trained, asked):
    found, expected = screen(trained, asked), predict(trained, asked)
    np.testing.assert_allclose(found.X, expected.layers["delta"], atol=1e-5)
    np.testing.assert_allclose(found.varm["control"].T.to_numpy()[:1].repeat(len(found), 0), expected.layers["control"])
    shared = ["perturbation", "context", "seen", "n_train_cells", "support"]
    assert found.obs[shared].equals(expected.obs[shared])
    assert list(found.var_names) == list(trained.var_names)


def test_the_default_is_every_measured_gene(trained):
    assert list(screen(trained).obs["perturbation"].astype(str)) == list(map(str, trained.var_names))


def test_a_file_holds_what_memory_would(trained, asked, tmp_path, small_steps):
    out = tmp_path / "screen.h5ad"
    backed, expected = screen(trained, asked, out=out), screen(trained, asked)
    assert backed.isbacked
    backed.file.close()
    found = anndata.read_h5ad(out)
    np.testing.assert_array_equal(found.X, expected.X)
    assert found.obs["predictor"].astype(str).equals(expected.obs["predictor"].astype(str))
    assert list(tmp_path.iterdir()) == [out]


def test_an_interrupted_screen_goes_on_where_it_stopped(trained, asked, tmp_path, small_steps, monkeypatch):
    out, real, asked_of_net = tmp_path / "screen.h5ad", BiMamba._unsorted, []

    def dying(self, values):
        asked_of_net.append(len(values))
        if len(asked_of_net) == 3:
            raise KeyboardInterrupt
        return real(self, values)

    monkeypatch.setattr(BiMamba, "_unsorted", dying)
    with pytest.raises(KeyboardInterrupt):
        screen(trained, asked, out=out)
    assert not out.exists()
    found = screen(trained, asked, out=out)
    assert asked_of_net == [2, 2, 2, 2]  # the third came again, the first two did not
    np.testing.assert_array_equal(found.X[:], screen(trained, asked).X)


def test_an_unfinished_screen_of_something_else_is_refused_and_kept(trained, asked, tmp_path, small_steps, monkeypatch):
    out = tmp_path / "screen.h5ad"
    with monkeypatch.context() as patch:
        patch.setattr(BiMamba, "_unsorted", lambda self, values: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            screen(trained, asked, out=out)
    before = (tmp_path / "screen.h5ad.partial").read_bytes()
    with pytest.raises(ValueError, match="part of another screen"):
        screen(trained, asked[:3], out=out)
    assert (tmp_path / "screen.h5ad.partial").read_bytes() == before


def test_a_file_that_is_there_is_never_overwritten(trained, asked, tmp_path):
    out = tmp_path / "screen.h5ad"
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="is there already"):
        screen(trained, asked, out=out)
    assert out.read_text() == "mine" and list(tmp_path.iterdir()) == [out]


def test_every_row_names_its_predictor(trained, asked):
    name = screen(trained, asked).obs["predictor"].unique()
    assert len(name) == 1 and len(name[0]) == 12
    other = trained.copy()
    spm.tl.train_predictor(
        other, net={"core": None, "width": 8, "head_width": 8, "state": 4}, train={"epochs": 1}, random_state=9
    )
    assert screen(other, asked).obs["predictor"].unique()[0] != name[0]
    assert screen(trained, asked[:2]).obs["predictor"].unique()[0] == name[0]
