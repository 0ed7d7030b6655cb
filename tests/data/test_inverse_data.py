import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.inverse_data import View, align, control_centre, read_inverse

LABELS = ["control"] * 6 + ["A"] * 4 + ["B"] * 4 + ["A+B"] * 3 + ["C+D"] * 3 + ["E"] * 2 + [None]


def screen():
    rng = np.random.default_rng(0)
    x = rng.exponential(1, (len(LABELS), 5)).astype(np.float32)
    obs = pd.DataFrame({"perturbation": pd.Categorical(LABELS)}, index=[f"c{n}" for n in range(len(LABELS))])
    obs["lane"] = np.where(np.arange(len(LABELS)) % 2, "two", "one")
    return ad.AnnData(x, obs=obs)


def read(adata, *, batch=None, train=None, val=None):
    every = np.ones(adata.n_vars, dtype=bool)
    nothing = np.zeros(adata.n_obs, dtype=bool)
    return read_inverse(adata, View(~every, every, batch), train=~nothing if train is None else train,
                        val=nothing if val is None else val)  # fmt: skip


def test_candidates_stand_alone_in_training_and_other_cells_are_left_out():
    data = read(screen())
    assert [part.label for part in data.candidates] == ["A", "B"]  # E has two cells, C and D none alone
    assert [one.label for one in data.conditions] == ["control", "A", "A+B", "B"]
    assert len(data.x) == 6 + 4 + 4 + 3
    assert np.bincount(data.answer + 2).tolist() == [3, 6, 4, 4]  # a combination is no single answer
    assert data.conditions[data.control] == Condition()


def test_a_side_that_is_not_asked_for_is_never_read():
    adata = screen()
    is_b = (adata.obs["perturbation"] == "B").to_numpy()
    adata.X[is_b] = 1e6
    data = read(adata, train=~is_b)
    assert [part.label for part in data.candidates] == ["A"]
    assert data.x.max() < 1e3


def test_validation_cells_are_marked():
    adata = screen()
    val = np.zeros(adata.n_obs, dtype=bool)
    val[[0, 6]] = True
    data = read(adata, train=~val, val=val)
    assert np.flatnonzero(data.is_val).tolist() == [0, 6]


def test_the_control_cells_of_every_batch_have_one_centre():
    rng = np.random.default_rng(0)
    batch, control = rng.integers(3, size=60), rng.random(60) < 0.5
    x = (rng.normal(size=(60, 4)) + batch[:, None]).astype(np.float32)
    centre = control_centre(x, batch, control)
    moved = align(x, batch, control, centre)
    for one in range(3):
        np.testing.assert_allclose(moved[(batch == one) & control].mean(0), centre, atol=1e-5)
        some = batch == one
        np.testing.assert_allclose(moved[some] - moved[some][0], x[some] - x[some][0], atol=1e-5)


def test_a_batch_without_control_cells_stays_where_it_is():
    x, batch = np.ones((4, 2), np.float32), np.array([0, 0, 1, 1])
    moved = align(x, batch, np.array([True, False, False, False]), np.zeros(2, np.float32))
    assert moved.tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]


def test_what_is_missing_is_said():
    adata = screen()
    with pytest.raises(ValueError, match="found none"):
        read(adata, train=(adata.obs["perturbation"] == "C+D").to_numpy())
    with pytest.raises(ValueError, match="control cells in training; found 0"):
        read(adata, train=(adata.obs["perturbation"] != "control").to_numpy())
    adata.obs["lane"] = np.where(adata.obs["perturbation"] == "control", "one", "two")
    with pytest.raises(ValueError, match="1 of 2 have none"):
        read(adata, batch="lane")
