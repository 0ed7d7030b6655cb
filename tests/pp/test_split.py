import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from hypothesis import given, settings
from hypothesis import strategies as st

import scperturbmamba as spm


def screen(n_conditions=20, n_control=30, cells=3, seed=0):
    labels = np.array(["control"] * n_control + [f"G{number:03d}" for number in range(n_conditions)] * cells)
    labels = np.random.default_rng(seed).permutation(labels)
    obs = pd.DataFrame({"condition": labels}, index=[f"c{number}" for number in range(len(labels))])
    obs["line"] = np.where(np.arange(len(obs)) % 2, "x", "y")
    adata = AnnData(np.zeros((len(obs), 1), np.float32), obs=obs)
    if n_control:
        spm.pp.perturbation_labels(adata, "condition")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spm.pp.perturbation_labels(adata, "condition")
    return adata


def sides(adata, key="split"):
    treated = adata.obs[~adata.obs["is_control"] & adata.obs["perturbation"].notna()]
    return treated.groupby("perturbation", observed=True)[key].first().astype(str)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 60), st.integers(3, 40), st.floats(0.02, 0.5), st.floats(0.02, 0.5), st.integers(0, 1000))
def test_no_condition_straddles_and_no_side_is_empty(n_conditions, n_control, test_size, val_size, seed):
    adata = screen(n_conditions, n_control, cells=2)
    try:
        spm.pp.split_conditions(adata, test_size=test_size, val_size=val_size, random_state=seed)
    except ValueError as error:
        assert "at least one perturbation for each" in str(error)
        assert "split" not in adata.obs
        assert "split" not in adata.uns
        return
    treated = adata.obs[~adata.obs["is_control"]]
    assert (treated.groupby("perturbation", observed=True)["split"].nunique() == 1).all()
    assert set(treated["split"]) == {"train", "val", "test"}
    assert set(adata.obs.loc[adata.obs["is_control"], "split"]) == {"train", "val", "test"}
    assert adata.obs["split"].notna().all()


def test_87_conditions_give_18_for_the_test():
    adata = screen(87)
    spm.pp.split_conditions(adata)
    assert sides(adata).value_counts().to_dict() == {"test": 18, "val": 7, "train": 62}


def test_control_cells_are_divided_by_the_same_shares():
    adata = screen(n_control=200)
    spm.pp.split_conditions(adata, test_size=0.25, val_size=0.2)
    assert adata.obs.loc[adata.obs["is_control"], "split"].value_counts().to_dict() == {
        "train": 120,
        "val": 30,
        "test": 50,
    }


def test_every_context_divides_its_own_controls():
    adata = screen(n_control=60)
    adata.obs.loc[adata.obs["is_control"], "line"] = np.repeat([f"line{number}" for number in range(20)], 3)
    spm.pp.split_conditions(adata, context="line")
    controls = adata.obs[adata.obs["is_control"]]
    assert (controls.groupby("line", observed=True)["split"].nunique() == 3).all()


def test_the_seed_alone_decides_not_the_order_of_the_cells():
    one, other = screen(seed=1), screen(seed=2)
    spm.pp.split_conditions(one)
    spm.pp.split_conditions(other)
    pd.testing.assert_series_equal(sides(one), sides(other))
    spm.pp.split_conditions(other, random_state=1)
    assert (sides(one) != sides(other)).any()


def test_splits_of_two_names_live_side_by_side():
    adata = screen()
    spm.pp.split_conditions(adata)
    first = adata.obs["split"].copy()
    spm.pp.split_conditions(adata, random_state=np.int64(7), key_added="fold2")
    pd.testing.assert_series_equal(adata.obs["split"], first)
    told = {"scheme": "perturbation", "test_size": 0.2, "val_size": 0.1, "context": None, "random_state": 7}
    assert told.items() <= adata.uns["fold2"]["params"].items()


def test_a_split_of_the_users_is_kept():
    adata = screen()
    adata.obs["split"] = "mine"
    for _ in range(2):
        spm.pp.split_conditions(adata)
        assert set(adata.obs["split_original"]) == {"mine"}
    assert set(adata.obs["split"]) == {"train", "val", "test"}


def test_cells_without_a_label_are_on_no_side():
    adata = screen()
    adata.obs["condition"] = adata.obs["condition"].astype(object)
    adata.obs.iloc[:4, 0] = None
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.split_conditions(adata)
    assert adata.obs["split"].isna().tolist() == [True] * 4 + [False] * (adata.n_obs - 4)


def test_a_split_survives_a_file(tmp_path):
    adata = screen()
    spm.pp.split_conditions(adata, context="line")
    adata.write_h5ad(tmp_path / "screen.h5ad")
    back = read_h5ad(tmp_path / "screen.h5ad")
    assert back.obs["split"].tolist() == adata.obs["split"].tolist()
    assert list(back.obs["split"].cat.categories) == ["train", "val", "test"]
    assert back.uns["split"]["params"] == adata.uns["split"]["params"]


def test_too_few_control_cells_are_reported():
    adata = screen(n_control=2)
    with pytest.warns(UserWarning, match="too few control cells.*'all': 2"):
        spm.pp.split_conditions(adata)
    assert set(sides(adata)) == {"train", "val", "test"}


def test_a_table_of_effects_without_any_control_is_divided_in_silence():
    adata = screen(n_control=0)  # `pp.perturbation_labels` has told already
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spm.pp.split_conditions(adata)
    assert set(sides(adata)) == {"train", "val", "test"}


@pytest.mark.parametrize("dtype", [object, "category"])
def test_cells_of_an_unknown_context_are_a_context_of_their_own(dtype):
    unknown, named = screen(n_control=60), screen(n_control=60)
    for adata, word in ((unknown, np.nan), (named, "z")):
        adata.obs["line"] = adata.obs["line"].astype(object).replace("y", word).astype(dtype)
        spm.pp.split_conditions(adata, context="line")
    assert unknown.obs["split"].tolist() == named.obs["split"].tolist()
    controls = unknown.obs[unknown.obs["is_control"] & unknown.obs["line"].isna()]
    assert controls["split"].nunique() == 3


def test_few_control_cells_of_an_unknown_context_are_named():
    adata = screen(n_control=30)
    adata.obs["line"] = adata.obs["line"].astype(object)
    adata.obs.loc[adata.obs_names[adata.obs["is_control"]][:2], "line"] = np.nan
    with pytest.warns(UserWarning, match="too few control cells.*'nan': 2"):
        spm.pp.split_conditions(adata, context="line")


def test_a_context_with_too_few_control_cells_is_named():
    adata = screen(n_control=40)
    place = np.flatnonzero(adata.obs["is_control"])[:2]
    adata.obs["line"] = adata.obs["line"].astype(object)
    adata.obs.iloc[place, list(adata.obs).index("line")] = "z"
    with pytest.warns(UserWarning, match=r"\{'z': 2\}"):
        spm.pp.split_conditions(adata, context="line")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"test_size": 0}, ValueError, "`test_size` must be a number between 0 and 1"),
        ({"test_size": 1.0}, ValueError, "`test_size`"),
        ({"test_size": True}, ValueError, "`test_size`"),
        ({"test_size": 18}, ValueError, "`test_size`.*found 18"),
        ({"val_size": "0.1"}, ValueError, "`val_size`"),
        ({"val_size": np.nan}, ValueError, "`val_size`"),
        ({"test_size": 0.96}, ValueError, "found 20 perturbations.*lower the shares"),
        ({"context": "lin"}, KeyError, "Did you mean 'line'"),
        ({"random_state": (1, 2)}, TypeError, "'random_state' must be str, int"),
    ],
)
def test_an_impossible_split_is_refused_and_nothing_is_changed(options, error, said):
    adata = screen()
    before = adata.copy()
    with pytest.raises(error, match=said):
        spm.pp.split_conditions(adata, **options)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert set(adata.uns) == set(before.uns)


def test_one_condition_alone_cannot_be_split():
    adata = screen(n_conditions=1)
    with pytest.raises(ValueError, match="found 1 perturbations.*Bring a screen with more"):
        spm.pp.split_conditions(adata)


def test_unlabelled_screens_are_sent_to_the_labels():
    with pytest.raises(KeyError, match="spm.pp.perturbation_labels"):
        spm.pp.split_conditions(AnnData(np.zeros((3, 1))))


def test_a_view_becomes_its_own_object_and_the_parent_is_left_alone():
    parent = screen()
    view = parent[: parent.n_obs - 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spm.pp.split_conditions(view)
    assert "split" in view.obs
    assert "split" not in parent.obs


def test_a_backed_screen_is_refused_with_the_remedy(tmp_path):
    screen().write_h5ad(tmp_path / "screen.h5ad")
    backed = read_h5ad(tmp_path / "screen.h5ad", backed="r+")
    with pytest.raises(ValueError, match="backed by.*to_memory"):
        spm.pp.split_conditions(backed)
    backed.file.close()


# ---------------------------------------------------------------- schemes


def pairs_screen():
    """Twelve genes alone and twelve pairs, in two lines."""
    names = [f"G{number:02d}" for number in range(12)]
    labels = ["control"] * 60 + [*names, *(f"{a}+{b}" for a, b in zip(names, names[1:] + names[:1]))] * 12
    obs = pd.DataFrame({"condition": labels}, index=[f"c{number}" for number in range(len(labels))])
    obs["line"] = np.random.default_rng(0).choice(["x", "y"], len(obs))
    adata = AnnData(np.zeros((len(obs), 1), np.float32), obs=obs)
    spm.pp.perturbation_labels(adata, "condition")
    return adata


def test_by_default_no_gene_on_the_test_side_is_seen_alone_in_training():
    adata = pairs_screen()
    spm.pp.split_conditions(adata)
    found = sides(adata)
    singles = [label for label in found[found == "test"].index if "+" not in label]
    seen = {name for label in found[found != "test"].index for name in label.split("+")}
    assert singles and not set(singles) & seen


def test_pairs_whose_parts_are_seen_are_a_scheme_of_their_own():
    adata = pairs_screen()
    spm.pp.split_conditions(adata, "doubles")
    found = sides(adata)
    assert found[found == "test"].index.str.contains("+", regex=False).all() and (found == "test").sum() == 6
    spm.pp.split_conditions(adata, "simulation", random_state=3)
    assert (sides(adata) == "test").sum() > 3
    assert adata.uns["split"]["params"]["test_size"] == 0.25


def test_cells_at_random_lie_on_every_side_of_every_condition():
    adata = pairs_screen()
    spm.pp.split_conditions(adata, "cell", context="line")
    per = adata.obs.groupby(["perturbation", "line"], observed=True)["split"]
    assert (per.nunique()[per.size() >= 3] == 3).all()
    assert adata.uns["split"]["params"]["scheme"] == "cell"


@pytest.mark.parametrize("n_shots", [0, 5])
def test_a_context_is_left_out_but_for_its_controls_and_a_few_shots(n_shots):
    adata = pairs_screen()
    spm.pp.split_conditions(adata, "context", context="line", held_out="y", n_shots=n_shots)
    treated = adata.obs[~adata.obs["is_control"]]
    there = treated[treated["line"] == "y"]
    assert there.loc[there["split"] == "train", "perturbation"].nunique() == n_shots
    assert set(there["split"]) == {"test"} | ({"train"} if n_shots else set())
    assert set(treated.loc[treated["line"] == "x", "split"]) == {"train", "val"}
    controls = adata.obs[adata.obs["is_control"]]
    assert (controls.groupby("line", observed=True)["split"].nunique() == 3).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"held_out": "y"}, "needs `context=`"),
        ({"context": "line"}, "needs `context=`"),
        ({"context": "line", "held_out": ["x", "y"]}, "not all"),
        ({"context": "line", "held_out": "z"}, r"levels \['x', 'y'\]"),
        ({"context": "line", "held_out": "y", "n_shots": 24}, "from 0 to 23"),
    ],
)
def test_a_context_that_cannot_be_left_out_is_refused(options, said):
    adata = pairs_screen()
    with pytest.raises(ValueError, match=said):
        spm.pp.split_conditions(adata, "context", **options)
    assert "split" not in adata.obs


def test_a_column_of_another_tool_is_taken_and_its_controls_are_divided_again():
    adata = pairs_screen()
    adata.obs["theirs"] = np.where(adata.obs["perturbation"].isin(["G01", "G02+G03"]), "ood", "train")
    spm.pp.split_conditions(adata, "theirs")
    found = sides(adata)
    assert sorted(found[found == "test"].index) == ["G01", "G02+G03"]
    assert (found == "val").sum() >= 1
    assert set(adata.obs.loc[adata.obs["is_control"], "split"]) == {"train", "val", "test"}
    assert adata.uns["split"]["params"]["scheme"] == "column theirs"


def test_a_mapping_and_a_file_say_the_same(tmp_path):
    adata = pairs_screen()
    given = {"test": ["G01", "G03+G02"], "val": ["G05"], "train": sorted(set(sides_of_all(adata)) - {"G01", "G05"})}
    given["train"].remove("G02+G03")
    spm.pp.split_conditions(adata, given)
    pd.DataFrame([(one, side) for side, some in given.items() for one in some], columns=["condition", "split"]).to_csv(
        tmp_path / "s.csv"
    )
    first = adata.obs["split"].copy()
    spm.pp.split_conditions(adata, tmp_path / "s.csv")
    pd.testing.assert_series_equal(adata.obs["split"], first)
    assert adata.uns["split"]["params"]["scheme"] == "file s.csv"


def sides_of_all(adata):
    return list(adata.obs.loc[~adata.obs["is_control"], "perturbation"].astype(str).unique())


def test_conditions_that_a_given_split_does_not_name_are_told_and_get_no_side():
    adata = pairs_screen()
    with pytest.warns(UserWarning, match=r"says nothing of 21 conditions.*names 1 that are not in it.*'ZZZ'"):
        spm.pp.split_conditions(adata, {"G00": "test", "G01": "train", "G02": "val", "ZZZ": "train"})
    assert adata.obs["split"].isna().sum() == 21 * 12


@pytest.mark.parametrize(
    ("scheme", "said"),
    [("perturbations", "must be one of"), ({"G00": "train"}, "must put conditions"), ({"G00": "left"}, "a side of a")],
)
@pytest.mark.filterwarnings("ignore:the given split")
def test_a_scheme_that_cannot_be_read_is_refused(scheme, said):
    adata = pairs_screen()
    with pytest.raises(ValueError, match=said):
        spm.pp.split_conditions(adata, scheme)
    assert "split" not in adata.obs


# ---------------------------------------------------------------- doses, pairs, matched controls


def drug_screen():
    """Six drugs at one to five doses, combinations with a gene, on four plates in two lines, each with controls."""
    doses = {"a": [1, 3, 10], "b": [0.1, 1, 10, 100], "c": [1, 10], "d": [5], "e": [1, 2, 3, 4, 5], "f": [1, 2, 3]}
    labels = [f"{name}@{dose}" for name, some in doses.items() for dose in some] + ["TP53", "TP53+a@3", "TP53+b@100"]
    labels = [*labels, *["DMSO"] * 6] * 4
    obs = pd.DataFrame({"condition": labels}, index=[f"c{number}" for number in range(len(labels))])
    obs["plate"] = np.repeat([f"p{number}" for number in range(4)], len(labels) // 4)
    obs["line"] = np.where(obs["plate"].isin(["p0", "p1"]), "x", "y")
    adata = AnnData(np.zeros((len(obs), 1), np.float32), obs=obs)
    spm.pp.perturbation_labels(adata, "condition", dose_unit="uM")
    return adata


@pytest.mark.parametrize("seed", range(5))
def test_by_default_a_drug_is_held_out_with_all_its_doses_and_its_combinations(seed):
    adata = drug_screen()
    spm.pp.split_conditions(adata, test_size=0.3, random_state=seed)
    found = sides(adata)
    names = {label: {part.split("@")[0] for part in label.split("+")} for label in found.index}
    alone = {name for label, side in found.items() if side == "test" and "+" not in label for name in names[label]}
    assert alone
    assert all(side == "test" for label, side in found.items() if names[label] & alone)


def test_the_middle_dose_of_every_drug_with_three_is_held_out_and_the_others_are_seen():
    adata = drug_screen()
    spm.pp.split_conditions(adata, "dose", context="line")
    found = sides(adata)
    assert sorted(found.index[found == "test"]) == ["TP53+a@3", "a@3", "b@1", "e@3", "f@2"]
    trained = {label.split("@")[0] for label in found.index[found == "train"]}
    assert {label.split("@")[0] for label in found.index[found == "val"]} <= trained and (found == "val").any()
    spm.pp.split_conditions(adata, "dose", held_out="highest", test_size=0.5)
    assert set(sides(adata)[lambda one: one == "test"].index) <= {"a@10", "b@100", "TP53+b@100", "e@5", "f@3"}
    assert adata.uns["split"]["params"]["held_out"] == ["highest"]


def test_pairs_are_held_out_of_conditions_and_lines_that_are_seen_elsewhere():
    adata = drug_screen()
    spm.pp.split_conditions(adata, "pair", context="line")
    treated = adata.obs[~adata.obs["is_control"]]
    per = treated.groupby(["perturbation", "line"], observed=True)["split"].agg(["nunique", "first"])
    assert (per["nunique"] == 1).all()
    n = len(per)
    assert (per["first"] == "test").sum() == int(np.ceil(0.2 * n))
    train = treated[treated["split"] == "train"]
    assert set(train["perturbation"]) == set(treated["perturbation"])
    assert set(train["line"]) == {"x", "y"}
    controls = adata.obs[adata.obs["is_control"]]
    assert (controls.groupby("line", observed=True)["split"].nunique() == 3).all()


@pytest.mark.parametrize(
    ("scheme", "options", "said"),
    [
        ("pair", {}, "needs `context=`"),
        ("dose", {"held_out": "tenth"}, r"one of \['middle', 'highest', 'lowest'\].*'tenth'"),
    ],
)
def test_doses_and_pairs_that_are_not_there_are_refused(scheme, options, said):
    adata = drug_screen()
    with pytest.raises(ValueError, match=said):
        spm.pp.split_conditions(adata, scheme, **options)
    assert "split" not in adata.obs


def test_genes_have_no_doses_to_hold_out():
    with pytest.raises(ValueError, match="at least 3 doses; found at most 0.*dose="):
        spm.pp.split_conditions(screen(), "dose")


def test_matched_controls_go_where_their_treated_cells_go():
    adata = drug_screen()
    one_plate = adata.obs["perturbation"].isin(["e@1", "e@2"]) | (adata.obs["plate"] != "p3")
    adata = adata[(one_plate | adata.obs["is_control"]).to_numpy()].copy()
    spm.pp.match_controls(adata, "plate")
    given = {"train": ["e@1", "e@2", "a@1", "b@1"], "val": ["a@3"], "test": ["a@10", "b@10"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spm.pp.split_conditions(adata, given)
    controls = adata.obs[adata.obs["is_control"]]
    assert set(controls.loc[controls["plate"] == "p3", "split"]) == {"train"}
    assert (controls[controls["plate"] != "p3"].groupby("plate", observed=True)["split"].nunique() == 3).all()


def test_a_held_out_line_keeps_matched_controls_for_training():
    adata = drug_screen()
    spm.pp.match_controls(adata, "plate")
    spm.pp.split_conditions(adata, "context", context="line", held_out="y")
    controls = adata.obs[adata.obs["is_control"]]
    per = controls.groupby("plate", observed=True)["split"].agg(set)
    assert per["p0"] == per["p1"] == {"train", "val"}
    assert per["p2"] == per["p3"] == {"train", "test"}


def test_groups_with_fewer_controls_than_sides_are_told():
    adata = drug_screen()
    extra = np.flatnonzero(adata.obs["is_control"] & (adata.obs["plate"] == "p0"))[1:]
    adata = adata[np.delete(np.arange(adata.n_obs), extra)].copy()
    spm.pp.match_controls(adata, "plate")
    with pytest.warns(UserWarning, match="^1 control groups have fewer control cells than sides") as told:
        spm.pp.split_conditions(adata)
    assert told[0].filename == __file__
