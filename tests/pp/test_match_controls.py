import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

import scperturbmamba as spm


def screen(rows, **columns):
    """Return a screen of labels, a cell each, in an order that is not that of their names."""
    obs = pd.DataFrame({"label": list(rows), **columns}, index=[f"{number:03d}" for number in range(len(rows))])
    shuffled = np.random.default_rng(0).permutation(len(obs))
    adata = AnnData(np.ones((len(obs), 2), np.float32), obs=obs.iloc[shuffled])
    spm.pp.perturbation_labels(adata, "label")
    return adata


def groups_of(adata):
    """Return the members of each group, by the names of the cells."""
    groups = adata.obs["control_group"].sort_index()
    return [list(groups.index[groups == name]) for name in groups.cat.categories]


C = "control"


def test_the_groups_are_the_levels_of_a_column():
    adata = screen([C, "A", C, "B", None], plate=["p1", "p1", "p2", "p2", "p2"])
    spm.pp.match_controls(adata, "plate")
    assert groups_of(adata) == [["000", "001"], ["002", "003"]]
    assert adata.obs["control_group"].isna().sum() == 1
    assert adata.uns["control_group"]["groups"].to_dict("list") == {
        "n_control": [1, 1], "n_treated": [1, 1], "n_conditions": [1, 1]
    }  # fmt: skip
    assert adata.uns["control_group"]["params"]["n_groups"] == 2


def test_several_columns_and_a_context_are_crossed():
    rows, plate, time, line = [C, C, C, "A", "A", "A"], [1, 1, 2, 1, 1, 2], ["2h", "8h", "2h"] * 2, ["x"] * 6
    one, other = screen(rows, plate=plate, time=time, line=line), screen(rows, plate=plate, time=time, line=line)
    spm.pp.match_controls(one, ["plate", "time", "line"])
    spm.pp.match_controls(other, ["plate", "time"], context="line")
    assert one.uns["control_group"]["groups"].index.tolist() == ["1 | 2h | x", "1 | 8h | x", "2 | 2h | x"]
    assert one.obs["control_group"].tolist() == other.obs["control_group"].tolist()


@pytest.mark.parametrize("order", ["obs_names", "scan", "scan_text"])
def test_a_run_of_controls_opens_a_group_for_what_comes_after_it(order):
    rows = ["A", C, C, "A", "B", C, "B", C, C]
    scan = [2 * number for number in range(9)]
    adata = screen(rows, scan=scan, scan_text=[str(one) for one in scan])
    spm.pp.match_controls(adata, order=order)
    assert groups_of(adata) == [["000", "001", "002", "003", "004"], ["005", "006"], ["007", "008"]]
    table = adata.uns["control_group"]["groups"]
    assert table["n_control"].tolist() == [2, 1, 2] and table["n_treated"].tolist() == [3, 1, 0]


def test_with_levels_each_cell_follows_the_controls_of_its_own_level():
    rows = [C, C, "A", C, "A", "A", C, C, "B", "B"]
    time = [2, 2, 2, 8, 8, 2, 2, 8, 8, 2]
    adata = screen(rows, time=time)
    spm.pp.match_controls(adata, "time", order="obs_names")
    assert groups_of(adata) == [["000", "001", "002", "005"], ["003", "004"], ["006", "009"], ["007", "008"]]


def test_controls_of_another_level_part_a_run():
    adata = screen([C, C, C, C, "A"], time=[24, 24, 2, 24, 24])
    spm.pp.match_controls(adata, "time", order="obs_names")
    assert groups_of(adata) == [["000", "001"], ["002"], ["003", "004"]]


def test_numbers_in_the_order_are_numbers_and_words_are_words():
    adata = screen([C, "A", C, "B"], scan=["9", "10", "99", "100"])
    spm.pp.match_controls(adata, order="scan")
    assert groups_of(adata) == [["000", "001"], ["002", "003"]]
    adata.obs["scan"] = "s" + adata.obs["scan"]
    spm.pp.match_controls(adata, order="scan")  # s10, s100, s9, s99: one run
    assert groups_of(adata) == [["000", "001", "002", "003"]]


def test_cells_without_a_level_are_told_and_have_no_group():
    adata = screen([C, "A", "A"], plate=["p", "p", None])
    with pytest.warns(UserWarning, match=r"1 labelled cells have no level of \['plate'\]"):
        spm.pp.match_controls(adata, "plate")
    assert groups_of(adata) == [["000", "001"]]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, ValueError, r'neither. Try `spm.pp.match_controls\(adata, "plate"\)`. Found'),
        ({"by": "plat"}, KeyError, "by='plat'.*Did you mean 'plate'"),
        ({"by": "plate", "context": "lin"}, KeyError, "context='lin'"),
        ({"order": "scam"}, KeyError, "order='scam'"),
        ({"by": "plate"}, ValueError, r"every level of \['plate'\]; found none in \['p2'\].*coarser column"),
        ({"by": "plate", "order": "obs_names"}, ValueError, r"found none in \['p2'\]"),
        ({"order": "gaps"}, ValueError, "place of every cell; found 1 without"),
    ],
)
def test_what_cannot_be_matched_is_refused_and_nothing_is_changed(options, error, said):
    adata = screen([C, "A", "B"], plate=["p1", "p1", "p2"], gaps=[1, 2, None])
    before = adata.obs.copy()
    with pytest.raises(error, match=said):
        spm.pp.match_controls(adata, **options)
    pd.testing.assert_frame_equal(adata.obs, before)
    assert "control_group" not in adata.uns


def test_unlabelled_screens_are_sent_to_the_labels():
    with pytest.raises(KeyError, match="spm.pp.perturbation_labels"):
        spm.pp.match_controls(AnnData(np.zeros((3, 1))), "plate")


def test_a_column_of_the_users_is_kept_and_running_twice_changes_nothing(tmp_path):
    adata = screen([C, "A"], plate=["p", "p"], control_group=["theirs", "too"])
    for _ in range(2):
        spm.pp.match_controls(adata, "plate")
        assert set(adata.obs["control_group_original"]) == {"theirs", "too"}
        assert set(adata.obs["control_group"]) == {"p"}
    adata.write_h5ad(tmp_path / "screen.h5ad")
    back = read_h5ad(tmp_path / "screen.h5ad")
    pd.testing.assert_frame_equal(back.uns["control_group"]["groups"], adata.uns["control_group"]["groups"])
    assert back.obs["control_group"].tolist() == adata.obs["control_group"].tolist()


def test_a_view_becomes_its_own_object_and_the_parent_is_left_alone():
    parent = screen([C, "A", "B"], plate=["p"] * 3)
    view = parent[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spm.pp.match_controls(view, order="obs_names")
    assert "control_group" in view.obs and "control_group" not in parent.obs


def test_a_column_of_the_users_named_control_group_is_not_taken_for_ours():
    """Only what ``uns`` says was matched is matched: the name is too usual."""
    adata = screen([C, C, "A", "A"], control_group=["1", "2", "1", "2"])
    adata.X[:] = np.where(adata.obs[["control_group"]] == "2", 5.5, 0.5)
    plain = spm.pp.pseudobulk(adata)
    assert plain.layers["se"][1].max() > 1
    spm.pp.match_controls(adata, "control_group")
    assert spm.pp.pseudobulk(adata).layers["se"][1, 0] != plain.layers["se"][1, 0]


@pytest.fixture(scope="module")
def tggates(shared_data):
    adata = read_h5ad(shared_data / "data" / "tggates_human_hepatocyte_dose.h5ad")
    spm.pp.perturbation_labels(adata, dose="dose", dose_unit="µM")
    spm.pp.match_controls(adata, "duration", order="obs_names")
    return adata


@pytest.mark.data
def test_a_run_of_tggates_is_a_drug_at_a_time_with_its_replicates(tggates):
    treated = tggates.obs[~tggates.obs["is_control"]]
    drug = treated["perturbation_original"].astype(str)
    per_group = drug.groupby(treated["control_group"], observed=True).nunique()
    assert (per_group == 1).sum() == 225 and (per_group > 1).sum() == 10
    table = tggates.uns["control_group"]["groups"]
    assert (table.loc[table["n_treated"] > 0, "n_control"] == 2).sum() == 230
    replicates = treated.groupby(["control_group", "perturbation"], observed=True).size()
    assert replicates.value_counts().to_dict() == {2: 578, 1: 30}


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*rows of the profiles have cells without control cells")
@pytest.mark.parametrize(("matched", "r", "high"), [(True, 0.29, 0.58), (False, 0.84, 0.93)])
def test_most_of_what_repeats_in_tggates_against_all_controls_is_the_plate(tggates, matched, r, high):
    effects = []
    for replicate in ("1", "2"):
        part = tggates[tggates.obs["individual_id"].astype(str) == replicate].copy()
        if not matched:
            del part.uns["control_group"]
        bulk = spm.pp.pseudobulk(part, context="duration")
        effects.append(bulk[~bulk.obs["is_control"]].to_df(layer="delta"))
    one, other = effects[0].align(effects[1], join="inner", axis=0)
    found = pd.Series([np.corrcoef(*pair)[0, 1] for pair in zip(one.to_numpy(), other.to_numpy())], one.index)
    assert found.mean() == pytest.approx(r, abs=0.01)
    obs = tggates.obs
    names = obs["perturbation"].astype(str) + " | " + obs["duration"].astype(str)
    strong = names[(obs["dose_level"] == "High") & (obs["duration"].astype(str) == "24")]
    assert found[found.index.isin(strong)].mean() == pytest.approx(high, abs=0.01)
