import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scperturbmamba.data.control_groups import are_several
from scperturbmamba.data.profiles import effect_profiles

STORAGES = pytest.mark.parametrize("storage", [np.asarray, sp.csr_matrix, sp.csc_matrix], ids=["dense", "csr", "csc"])


def world(seed=0, n=240, n_groups=5, shift=3.0):
    """Return cells, their labels, contexts and groups, where each group shifts its cells by as much as effects are."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "label": rng.choice(["control", "A", "B"], n, p=[0.4, 0.3, 0.3]),
            "context": rng.choice(["x", "y"], n),
            "group": rng.integers(0, n_groups, n),
        }
    )
    cells = rng.gamma(1.0, 1.0, (n, 6)) * rng.integers(0, 2, (n, 6)) + shift * table["group"].to_numpy()[:, None]
    return cells, table


def profiles_of(cells, table, group=True, storage=np.asarray):
    rows = table[["label", "context"]].drop_duplicates()
    rows = rows.assign(treated=rows["label"] != "control").sort_values(["treated", "label", "context"])[
        ["label", "context"]
    ]
    place = pd.MultiIndex.from_frame(rows).get_indexer(pd.MultiIndex.from_frame(table[["label", "context"]]))
    groups = table["group"].to_numpy(np.int64) if group else None
    return rows.reset_index(drop=True), effect_profiles(storage(cells), rows, place, groups)


@STORAGES
def test_an_effect_is_the_mean_of_cells_minus_the_controls_of_their_group_and_context(storage):
    cells, table = world()
    rows, found = profiles_of(cells, table, storage=storage)
    control = table["label"] == "control"
    for number, (label, context) in enumerate(rows.itertuples(index=False)):
        if label == "control":
            assert (found.delta[number] == 0).all()
            continue
        own = np.flatnonzero((table["label"] == label) & (table["context"] == context))
        differences, noise = [], np.zeros(6)
        for group, part in table.iloc[own].groupby("group"):
            mine = cells[control & (table["context"] == context) & (table["group"] == group)]
            differences.append(cells[part.index] - mine.mean(0))
            noise += (len(part) / len(own)) ** 2 * mine.var(0, ddof=1) / len(mine)
        differences = np.vstack(differences)
        own_noise = differences.var(0, ddof=1) / len(own)
        np.testing.assert_allclose(found.delta[number], differences.mean(0), atol=1e-5)
        np.testing.assert_allclose(found.own_se[number], np.sqrt(own_noise), rtol=1e-4)
        np.testing.assert_allclose(found.se[number], np.sqrt(own_noise + noise), rtol=1e-4)
        np.testing.assert_allclose(found.mean[number], cells[own].mean(0), rtol=1e-5)
    assert found.is_matched and found.n_unmatched == 0


@pytest.mark.parametrize("groups", ["one", "one per context", "none known"])
def test_with_one_group_per_context_the_numbers_are_exactly_those_without_groups(groups):
    cells, table = world()
    _, plain = profiles_of(cells, table, group=False)
    codes = {"one": 0, "one per context": (table["context"] == "y").astype(int) + 2, "none known": -1}
    _, found = profiles_of(cells, table.assign(group=codes[groups]))
    for name in ("mean", "delta", "se", "control", "n_cells", "own_se"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    assert not found.is_matched


def test_what_shifts_a_whole_group_leaves_no_trace_in_effects_and_their_errors():
    shifted, still = (profiles_of(*world(shift=shift))[1] for shift in (50.0, 0.0))
    np.testing.assert_allclose(shifted.delta, still.delta, atol=1e-4)
    treated = np.abs(still.delta).sum(1) > 0
    np.testing.assert_allclose(shifted.se[treated], still.se[treated], rtol=1e-3)


@STORAGES
def test_a_group_without_controls_is_compared_with_all_of_its_context(storage):
    cells, table = world()
    lost = (table["context"] == "x") & (table["group"] == 3)
    keep = ~(lost & (table["label"] == "control"))
    cells, table = cells[keep], table[keep].reset_index(drop=True)
    table.loc[table.index[(table["label"] == "B") & (table["context"] == "y")][0], "group"] = -1
    rows, found = profiles_of(cells, table, storage=storage)
    control = (table["label"] == "control").to_numpy()
    assert found.n_unmatched == 3  # A and B in x, and B in y
    for number, (label, context) in enumerate(rows.itertuples(index=False)):
        here = (table["context"] == context).to_numpy()
        own = table[here & (table["label"] == label).to_numpy()]
        wanted = []
        for cell, group in own["group"].items():
            mine = here & control & (table["group"] == group).to_numpy()
            wanted.append(cells[cell] - cells[mine if mine.any() else here & control].mean(0))
        if label != "control":
            np.testing.assert_allclose(found.delta[number], np.mean(wanted, 0), atol=1e-5)


def test_a_group_of_one_control_cell_has_the_noise_that_the_others_have_on_average():
    table = pd.DataFrame(
        {
            "label": ["control"] * 6 + ["A", "A"],
            "context": "x",
            "group": [0, 0, 1, 1, 1, 2, 2, 2],
        }
    )
    cells = np.array([[0.0], [2.0], [0.0], [3.0], [6.0], [1.0], [5.0], [6.0]])
    _, found = profiles_of(cells, table)
    pooled = (2.0 + 2 * 9.0) / 3  # variances 2 and 9, by their degrees of freedom
    np.testing.assert_allclose(found.delta[1], 4.5)
    np.testing.assert_allclose(found.se[1], np.sqrt(0.5 / 2 + pooled), rtol=1e-6)


def test_groups_are_several_only_where_a_context_has_more_than_one():
    row, context = np.array([0, 1, 1, -1]), np.array([0, 1])
    assert not are_several(row, np.array([4, 7, 7, 1]), context)
    assert not are_several(row, np.array([4, 7, -1, 1]), context)
    assert are_several(row, np.array([4, 7, 8, 1]), context)


def test_empty_columns_make_no_noise_in_the_log():
    cells, table = world()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profiles_of(np.zeros_like(cells), table, storage=sp.csr_matrix)
