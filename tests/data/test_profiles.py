import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scperturbmamba.data.profiles import control_rows, effect_profiles, group_rows


def labelled(labels, contexts=None, seed=0):
    x = np.random.default_rng(seed).gamma(1.0, 1.0, (len(labels), 4)).astype(np.float32)
    obs = pd.DataFrame({"perturbation": labels}, index=[f"c{number}" for number in range(len(labels))])
    if contexts is not None:
        obs["line"] = contexts
    return AnnData(x, obs=obs)


LABELS = ["B", "control", "A", "B", None, "control", "A+B", "A"]
LINES = ["x", "x", "y", "y", "x", "y", "x", None]


def test_rows_are_conditions_with_the_control_first_and_unlabelled_cells_have_none():
    rows, place = group_rows(labelled(LABELS), context=None)
    assert rows["label"].tolist() == ["control", "A", "A+B", "B"]
    assert place.tolist() == [3, 0, 1, 3, -1, 0, 2, 1]


def test_with_a_context_each_level_has_rows_of_its_own():
    rows, place = group_rows(labelled(LABELS, LINES), context="line")
    assert list(rows.index) == ["control | x", "control | y", "A | y", "A+B | x", "B | x", "B | y"]
    assert place.tolist() == [4, 0, 2, 5, -1, 1, 3, -1]


def test_a_level_called_nan_does_not_take_the_cells_without_a_level():
    rows, place = group_rows(labelled(["A", "control", "A"], ["nan", "nan", None]), context="line")
    assert place.tolist() == [1, 0, -1]


@pytest.mark.parametrize("storage", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_effects_are_means_minus_the_control_of_the_same_context(storage):
    labels = np.random.default_rng(1).choice(["control", "A", "B"], 80)
    lines = np.random.default_rng(2).choice(["x", "y"], 80)
    adata = labelled(labels, lines)
    rows, place = group_rows(adata, context="line")
    profiles = effect_profiles(storage(adata.X), rows, place)

    cells = adata.to_df().groupby([adata.obs["perturbation"], adata.obs["line"]])
    mean, sem, size = cells.mean(), cells.sem(), cells.size()
    for number, (label, line) in enumerate(zip(rows["label"], rows["context"])):
        np.testing.assert_allclose(profiles.mean[number], mean.loc[(label, line)], rtol=1e-5)
        delta = mean.loc[(label, line)] - mean.loc[("control", line)]
        np.testing.assert_allclose(profiles.delta[number], delta, atol=1e-6)
        noise = np.square(sem.loc[(label, line)])
        noise = noise if label == "control" else noise + np.square(sem.loc[("control", line)])
        np.testing.assert_allclose(profiles.se[number], np.sqrt(noise), rtol=1e-4)
        assert profiles.n_cells[number] == size.loc[(label, line)]
    np.testing.assert_allclose(profiles.control, mean.loc["control"].loc[["x", "y"]], rtol=1e-5)


def test_the_control_has_no_effect_on_itself():
    rows, place = group_rows(labelled(LABELS), context=None)
    profiles = effect_profiles(labelled(LABELS).X, rows, place)
    assert (profiles.delta[0] == 0).all()


def test_a_screen_without_control_cells_is_refused_with_the_remedy():
    rows, _ = group_rows(labelled(["A", "B"]), context=None)
    with pytest.raises(ValueError, match="expected control cells; found none.*perturbation_labels"):
        control_rows(rows)


def test_a_context_without_control_cells_is_named():
    rows, _ = group_rows(labelled(["A", "control", "A"], ["x", "x", "y"]), context="line")
    with pytest.raises(ValueError, match=r"each context; found none in \['y'\]"):
        control_rows(rows)


def test_an_unknown_context_column_is_refused_with_the_nearest_name():
    with pytest.raises(KeyError, match="Did you mean 'line'"):
        group_rows(labelled(LABELS, LINES), context="lines")
