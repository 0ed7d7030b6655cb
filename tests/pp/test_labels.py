import logging
import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, concat, read_h5ad, read_zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import scperturbmamba as spm
from scperturbmamba.data.conditions import Condition, Part

SLOTS = ["perturbation", "perturbation_idx", "is_control", "n_parts", "perturbation_type", "dose", "dose_unit"]


def screen(labels, genes=("TP53", "MYC", "Y_RNA"), column="label", **columns):
    obs = pd.DataFrame({column: pd.Series(labels, dtype=object), **columns})
    obs.index = [f"cell{number}" for number in range(len(obs))]
    return AnnData(np.ones((len(obs), len(genes)), np.float32), obs=obs, var=pd.DataFrame(index=list(genes)))


def read(labels, column="label", **options):
    adata = screen(labels, column=column)
    spm.pp.perturbation_labels(adata, column, **options)
    return plain(adata.obs["perturbation"])


def plain(values):
    """Return a column as a list with None where it has nothing."""
    return [None if pd.isna(value) else value for value in values]


def assert_same(adata, before):
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert set(adata.uns) == set(before.uns)
    for key in set(adata.uns.get("perturbation", {})) | set(before.uns.get("perturbation", {})):
        one, other = adata.uns["perturbation"][key], before.uns["perturbation"][key]
        if key == "labels":
            pd.testing.assert_frame_equal(one, other)
        else:
            assert {name: np.asarray(value).tolist() for name, value in one.items()} == {
                name: np.asarray(value).tolist() for name, value in other.items()
            }


# dialects


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["ctrl", "A+ctrl", "ctrl+A", "B+A"], ["control", "A", "A", "A+B"]),
        (["A549_ctrl_1", "A549_CBL+CNN1_1+1", "A549_FEV+ctrl_1+1"], ["control", "CBL+CNN1", "FEV"]),
        (["control", "A", "B", "A_B", "Y_RNA"], ["control", "A", "B", "A+B", "Y_RNA"]),
        (["control", "TP53_MYC"], ["control", "MYC+TP53"]),
        (["control", "A+B", "A"], ["control", "A+B", "A"]),
        (["non-targeting", "STAT1"], ["control", "STAT1"]),
        (["DMSO_TF", "[('crizotinib', 0.05, 'uM')]"], ["control", "crizotinib@0.05"]),
        (["[('DMSO_TF', 0.0, 'uM')]", "[('a', 1, 'uM'), ('b', 2, 'uM')]"], ["control", "a@1+b@2"]),
        (["K562_---_ctrl", "RPE1_---_TP53+ctrl", "K562_---_TP53+MYC"], ["control", "TP53", "MYC+TP53"]),
        (["scrambled", "BRCA1_KO", "TP53_KO", "MYC_activation"], ["control", "BRCA1", "TP53", "MYC"]),
        (["NegCtrl0", "NegCtrl11", "KLF1"], ["control", "control", "KLF1"]),
        (
            ["NegCtrl0_NegCtrl0__NegCtrl0_NegCtrl0", "KLF1_NegCtrl0__KLF1_NegCtrl0", "KLF1_MAP2K6__KLF1_MAP2K6"],
            ["control", "KLF1", "KLF1+MAP2K6"],
        ),
        (["control", "dasatinib@10", "TP53+dasatinib@0.5"], ["control", "dasatinib@10", "TP53+dasatinib@0.5"]),
        (["control", "(+)-JQ1", "compound@home"], ["control", "(\\+)-JQ1", "compound\\@home"]),
        (["control", "Control", "CTRL", "Non-Targeting", "A"], ["control"] * 4 + ["A"]),
        (["control", None, np.nan, "", "unassigned", " ", "multiplet", "A"], ["control"] + [None] * 6 + ["A"]),
        (["control", "WT1", "SCRG1"], ["control", "WT1", "SCRG1"]),
        (["control", 1, 2], ["control", "1", "2"]),
    ],
)
def test_every_dialect_is_read(labels, expected):
    assert read(labels) == expected


@pytest.mark.parametrize("dtype", ["category", "string", object])
def test_the_storage_of_the_column_does_not_matter(dtype):
    adata = screen(["ctrl", None, "A+ctrl"])
    adata.obs["label"] = adata.obs["label"].astype(dtype)
    spm.pp.perturbation_labels(adata, "label")
    assert plain(adata.obs["perturbation"]) == ["control", None, "A"]


def test_the_slots_say_the_same_in_their_own_ways():
    adata = screen(["B", "ctrl", None, "A_KO+B", "A_KO", "drug@3"])
    spm.pp.perturbation_labels(adata, "label")
    obs = adata.obs
    assert list(obs["perturbation"].cat.categories) == ["control", "A", "A+B", "B", "drug@3"]
    assert obs["perturbation_idx"].tolist() == [3, 0, -1, 2, 1, 4]
    assert obs["is_control"].tolist() == [False, True, False, False, False, False]
    assert obs["is_control"].dtype == bool
    assert obs["n_parts"].tolist() == [1, 0, -1, 2, 1, 1]
    np.testing.assert_array_equal(obs["dose"], [np.nan] * 5 + [3.0])
    assert plain(obs["perturbation_type"]) == ["unknown", "control", None, "knockout+unknown", "knockout", "drug"]


def test_names_survive_the_round_trip_through_the_slot():
    names = ["(+)-JQ1", "compound@home", "chr1:10-20", "IL2+", "CC[N+](C)C/C=C\\C", "Y_RNA", "α-amanitin"]
    found = read(["control", *names])
    assert [Condition.parse(label).names for label in found[1:]] == [(name,) for name in names]


name = st.text(alphabet="ABab12+@:-_()α", min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(name, min_size=1, max_size=5))
def test_any_labels_give_canonical_ones_that_are_read_as_themselves(labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        once = read(["control", *labels])
        again = read(once)
    for label in once:
        assert label is None or Condition.parse(label).label == label
    assert once == again


# controls


def test_mixed_spellings_of_the_control_are_one_control_and_are_logged(caplog):
    with caplog.at_level(logging.INFO, logger="scperturbmamba"):
        assert read(["control", "Control", "non-targeting", "A"])[:3] == ["control"] * 3
    assert "['Control', 'control', 'non-targeting']" in caplog.text


def test_the_labels_read_as_control_are_recorded():
    adata = screen(["control", "Control", "A"])
    spm.pp.perturbation_labels(adata, "label")
    assert adata.uns["perturbation"]["params"]["control_labels"] == ["Control", "control"]
    table = adata.uns["perturbation"]["labels"].set_index("found")
    assert table["label"].to_dict() == {"control": "control", "Control": "control", "A": "A"}
    assert table["n_cells"].sum() == 3


@pytest.mark.parametrize("typo", ["contrl", "crtl", "non-targetting", "A+contrl"])
def test_a_likely_typo_of_the_control_is_reported_with_the_remedy(typo):
    with pytest.warns(
        UserWarning, match=r"misspelt controls; if so, pass `control=\['(contrl|crtl|non-targetting)'\]`"
    ):
        read(["control", typo, "A"])


def test_the_remedies_for_a_typo_work():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert read(["control", "contrl", "A+contrl"], control="contrl") == ["control", "control", "A"]
        assert read(["control", "contrl"], rename={"contrl": "control"}) == ["control", "control"]


def test_a_measured_gene_that_looks_like_a_typo_is_not_reported():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        adata = screen(["control", "CNTRL"], genes=("CNTRL",))
        spm.pp.perturbation_labels(adata, "label")
    assert adata.obs["n_parts"].tolist() == [0, 1]


def test_the_users_own_words_for_the_control_are_read_in_any_case_and_in_combinations():
    assert read(["EMPTY", "empty", "A+empty"], control=["Empty", "other"]) == ["control", "control", "A"]


def test_labels_that_differ_by_case_only_are_reported():
    with pytest.warns(UserWarning, match=r"differ by case only: \['TP53', 'tp53'\]"):
        read(["control", "TP53", "tp53"])


def test_a_screen_without_control_cells_is_labelled_with_a_warning():
    with pytest.warns(UserWarning, match="no control cell was found; name its label: `control=`"):
        assert read(["A", "B"]) == ["A", "B"]


def test_one_condition_and_controls_are_enough():
    assert read(["control", "A"]) == ["control", "A"]
    assert read(["control"]) == ["control"]


# doses and kinds


def test_doses_come_from_a_column_and_mark_drugs():
    adata = screen(["DMSO", "x", "x", "y"], uM=[0, 1.5, 10, np.nan])
    spm.pp.perturbation_labels(adata, "label", dose="uM", dose_unit="uM")
    assert adata.obs["perturbation"].tolist() == ["control", "x@1.5", "x@10", "y"]
    np.testing.assert_array_equal(adata.obs["dose"], [np.nan, 1.5, 10, np.nan])
    assert plain(adata.obs["dose_unit"]) == [None, "uM", "uM", None]
    assert adata.obs["perturbation_type"].tolist() == ["control", "drug", "drug", "unknown"]


def test_units_come_from_a_column_or_from_the_label():
    adata = screen(["DMSO", "x", "y"], d=["", "1", "2"], unit=["-", "nM", "mg/kg"])
    spm.pp.perturbation_labels(adata, "label", dose="d", dose_unit="unit")
    assert plain(adata.obs["dose_unit"]) == [None, "nM", "mg/kg"]
    adata = screen(["DMSO", "[('x', 2, 'nM')]"])
    spm.pp.perturbation_labels(adata, "label")
    assert plain(adata.obs["dose_unit"]) == [None, "nM"]


def test_doses_of_one_family_get_the_commonest_unit_of_the_screen_and_it_is_recorded():
    adata = screen(["DMSO", "x", "x", "x", "y"], d=[0, 1, 10, 0.01, 2], unit=["uM", "nM", "nm", "µM", "mg/kg"])
    spm.pp.perturbation_labels(adata, "label", dose="d", dose_unit="unit")
    assert adata.obs["perturbation"].tolist() == ["control", "x@1", "x@10", "x@10", "y@2"]
    assert plain(adata.obs["dose_unit"]) == [None, "nM", "nM", "nM", "mg/kg"]
    np.testing.assert_array_equal(adata.obs["dose"], [np.nan, 1, 10, 10, 2])
    assert adata.uns["perturbation"]["params"]["units"] == ["mg/kg", "nM"]
    table = adata.uns["perturbation"]["labels"]
    converted = table[table["converted_from"] != ""]
    assert converted[["found", "label", "unit", "converted_from", "n_cells"]].values.tolist() == [
        ["x", "x@10", "nM", "uM", 1]
    ]


def test_of_units_that_are_as_common_the_largest_is_taken():
    assert read(["DMSO", "[('x', 500, 'nM')]", "[('x', 2, 'uM')]"]) == ["control", "x@0.5", "x@2"]


def test_labels_with_units_of_their_own_are_converted_with_the_rest():
    labels = ["DMSO", "[('x', 1, 'uM'), ('y', 250, 'nM')]", "x@2 uM", "y@3 nM"]
    assert read(labels) == ["control", "x@1+y@0.25", "x@2", "y@0.003"]


def test_a_unit_that_only_some_doses_of_a_drug_have_is_warned_of_and_a_dose_without_stays():
    adata = screen(["DMSO", "x", "x"], d=[0, 5, 5], unit=[None, "nM", None])
    with pytest.warns(UserWarning, match=r"doses of \['x'\] have a unit and others none") as told:
        spm.pp.perturbation_labels(adata, "label", dose="d", dose_unit="unit")
    assert told[0].filename == __file__
    assert plain(adata.obs["dose_unit"]) == [None, "nM", None]
    adata = screen(["DMSO", "x"], d=[0, 5])
    spm.pp.perturbation_labels(adata, "label", dose="d")
    assert plain(adata.obs["dose_unit"]) == [None, None]


def test_a_drug_at_dose_0_is_the_control_and_a_gene_beside_no_drug_is_itself():
    adata = screen(
        ["x", "x", "TP53", "TP53+x", "TP53+x", "a@0+b@2", "(+)-JQ1"], d=[0.0, 1.0, 0.0, 0.0, 3.0, np.nan, 0.0]
    )
    spm.pp.perturbation_labels(adata, "label", dose="d")
    assert adata.obs["perturbation"].tolist() == ["control", "x@1", "TP53", "TP53", "TP53+x@3", "b@2", "control"]
    assert adata.obs["is_control"].tolist() == [True, False, False, False, False, False, True]


def test_wells_at_dose_0_alone_are_controls_enough():
    adata = screen(["x", "x", "y"], d=[0.0, 1.0, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spm.pp.perturbation_labels(adata, "label", dose="d")
    assert adata.obs["is_control"].tolist() == [True, False, False]


drug_names = st.one_of(
    st.sampled_from(["(+)-JQ1", "a@b", "chr1:10-20", "IL2+", "dasatinib", "5-FU"]),
    st.text(alphabet="XYZ12+@:-()α", min_size=1, max_size=8).filter(lambda text: text.strip("+@:-()12")),
)
some_doses = st.sampled_from([0.0, 1e-3, 0.5, 3.0, 1e4])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(drug_names, some_doses), min_size=1, max_size=4))
def test_a_column_of_drugs_beside_a_column_of_doses_is_read_as_labels_with_doses(pairs):
    adata = screen(["vehicle", *(Part(name).label for name, _ in pairs)], d=[0.0, *(dose for _, dose in pairs)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spm.pp.perturbation_labels(adata, "label", dose="d", perturbation_type="drug")
    wanted = [Condition((Part(name, "", dose),)).label for name, dose in pairs]
    assert adata.obs["perturbation"].tolist() == ["control", *wanted]


def test_names_with_marks_are_taken_as_they_are_beside_a_column_of_doses():
    adata = screen(["DMSO", "(+)-JQ1", "a@b", "chr1:10-20"], d=[0, 0.5, 0.5, 0])
    spm.pp.perturbation_labels(adata, "label", dose="d")
    assert adata.obs["perturbation"].tolist() == ["control", "(\\+)-JQ1@0.5", "a\\@b@0.5", "control"]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(drug_names, some_doses.filter(bool), min_size=2, max_size=3), st.booleans(), st.randoms())
def test_combinations_with_a_dose_each_are_read_in_any_order(doses, with_gene, random):
    parts = [Part(name, "", dose) for name, dose in doses.items()] + [Part("TP53")] * with_gene
    random.shuffle(parts)
    label = "+".join(part.label for part in parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read(["control", f"{label}+z\\+@0"])[1] == Condition(tuple(parts)).label
        listed = str([(part.name, part.dose, "nM") for part in parts if part.dose])
        drugs = Condition(tuple(part for part in parts if part.dose))
        assert read(["control", listed])[1] == drugs.label


def test_a_dose_belongs_to_the_drug_not_to_the_gene_beside_it():
    adata = screen(["control", "TP53+dasatinib"], dose_uM=[np.nan, 3])
    spm.pp.perturbation_labels(adata, "label", dose="dose_uM")
    assert adata.obs["perturbation"].tolist() == ["control", "TP53+dasatinib@3"]


def test_a_drug_without_a_dose_in_some_cells_is_still_a_drug():
    adata = screen(["control", "(+)-JQ1@5", "(+)-JQ1"])
    spm.pp.perturbation_labels(adata, "label")
    assert adata.obs["perturbation"].tolist() == ["control", "(\\+)-JQ1@5", "(\\+)-JQ1"]
    assert adata.obs["perturbation_type"].tolist() == ["control", "drug", "drug"]


@pytest.mark.parametrize(
    ("labels", "types", "expected"),
    [
        (["MYC:CRISPRa", "MYC:knockout", "TP53:CRISPRa"], None, ["MYC:CRISPRa", "MYC:knockout", "TP53"]),
        (["MYC_activation", "MYC_KO", "TP53"], None, ["MYC:CRISPRa", "MYC:knockout", "TP53"]),
        (["MYC", "MYC", "TP53"], ["CRISPRa", "KO", "CRISPRa"], ["MYC:CRISPRa", "MYC:knockout", "TP53"]),
        (["MYC", "MYC_activation", "TP53"], None, ["MYC", "MYC:CRISPRa", "TP53"]),
        (["MYC_KO+TP53", "MYC_KO", "MYC_KD"], None, ["MYC:knockout+TP53", "MYC:knockout", "MYC:CRISPRi"]),
    ],
)
def test_a_gene_under_two_kinds_has_two_labels_and_any_other_one(labels, types, expected):
    adata = screen(["control", *labels], **({} if types is None else {"how": ["", *types]}))
    spm.pp.perturbation_labels(adata, "label", perturbation_type=None if types is None else "how")
    assert adata.obs["perturbation"].tolist() == ["control", *expected]


@pytest.mark.parametrize(("given", "kind"), [("CRISPRi", "CRISPRi"), ("KO", "knockout"), ("compound", "drug")])
def test_a_kind_can_be_given_for_all_cells(given, kind):
    adata = screen(["control", "A", "B_OE"])
    spm.pp.perturbation_labels(adata, "label", perturbation_type=given)
    assert adata.obs["perturbation_type"].tolist() == ["control", kind, "overexpression"]


def test_a_type_column_is_found_and_read():
    adata = screen(["control", "A"], modality=["CRISPRa", "CRISPRa"])
    spm.pp.perturbation_labels(adata, "label")
    assert adata.obs["perturbation_type"].tolist() == ["control", "CRISPRa"]


@pytest.mark.parametrize(("column", "kind"), [("sgRNA", "knockout"), ("compound", "drug"), ("condition", "unknown")])
def test_the_name_of_the_column_tells_the_kind_where_nothing_else_does(column, kind):
    adata = screen(["control", "A"], column=column)
    spm.pp.perturbation_labels(adata)
    assert adata.obs["perturbation_type"].tolist() == ["control", kind]


@pytest.mark.parametrize(("separator", "label"), [("_", "X_Y"), ("--", "Y--X"), (" & ", "X & Y")])
def test_a_separator_can_be_given(separator, label):
    assert read(["ctrl", label], separator=separator) == ["control", "X+Y"]


# the user's columns; twice; files


def theirs(**more):
    return screen(
        ["ctrl", "A_B", None, "A"],
        column="perturbation",
        perturbation_type=["CRISPRa"] * 4,
        dose=["1", "2", "3", "4"],
        is_control=["yes", "no", "no", "no"],
        **more,
    )


def test_columns_of_the_user_that_bear_our_names_are_kept():
    adata = theirs()
    before = adata.obs.copy()
    spm.pp.perturbation_labels(adata, "perturbation", separator="_")
    for slot in before:
        pd.testing.assert_series_equal(adata.obs[f"{slot}_original"], before[slot], check_names=False)
    assert adata.obs["perturbation"].tolist()[:2] == ["control", "A+B"]
    assert adata.obs["is_control"].tolist() == [True, False, False, False]


def test_a_column_already_named_original_is_not_overwritten():
    adata = theirs(perturbation_original=["w", "x", "y", "z"])
    spm.pp.perturbation_labels(adata, "perturbation", separator="_")
    once = adata.copy()
    assert adata.obs["perturbation_original"].tolist() == ["w", "x", "y", "z"]
    assert adata.obs["perturbation_original_2"].tolist()[:2] == ["ctrl", "A_B"]
    spm.pp.perturbation_labels(adata, "perturbation", separator="_")
    assert_same(adata, once)


TWICE = {
    "column by name": (lambda: screen(["ctrl", "A+ctrl", None, "x@3"]), {"column": "label"}),
    "column found": (lambda: screen(["NT", "A", "B"], column="sgRNA"), {}),
    "our name": (theirs, {"column": "perturbation"}),
    "our name found": (theirs, {}),
    "separator": (theirs, {"column": "perturbation", "separator": "_"}),
    "dose and type of our names": (
        theirs,
        {"column": "perturbation", "dose": "dose", "perturbation_type": "perturbation_type", "dose_unit": "nM"},
    ),
    "already canonical": (
        lambda: screen(["A", "A+B", "x@3"], column="perturbation", perturbation_type=["CRISPRi", "CRISPRi", "drug"]),
        {"control": "none"},
    ),
    "type column of another name": (
        lambda: screen(["control", "A"], column="condition", modality=["CRISPRi"] * 2),
        {"column": "condition"},
    ),
    "rename": (lambda: screen(["contrl", "A"]), {"column": "label", "rename": {"contrl": "control"}}),
    "strange names": (lambda: screen(["ctrl", "(+)-JQ1", "compound@home", "x\\y", "A_B"], column="perturbation"), {}),
    "units to convert": (
        lambda: screen(["ctrl", "x", "y"], column="perturbation", dose=["0", "1", "2"], dose_unit=["", "nM", "uM"]),
        {"dose": "dose", "dose_unit": "dose_unit"},
    ),
    "two kinds": (lambda: screen(["ctrl", "MYC_KO", "MYC_activation"], column="perturbation"), {}),
}


@pytest.mark.filterwarnings("ignore:no control cell")
@pytest.mark.parametrize(
    ("case", "through"),
    [*((case, through) for case in TWICE for through in ("memory", "h5ad")), ("dose and type of our names", "zarr")],
)
def test_running_twice_changes_nothing(case, through, tmp_path):
    make, options = TWICE[case]
    adata = make()
    spm.pp.perturbation_labels(adata, **options)
    if through == "h5ad":
        adata.write_h5ad(tmp_path / "screen.h5ad")
        adata = read_h5ad(tmp_path / "screen.h5ad")
    if through == "zarr":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adata.write_zarr(tmp_path / "screen.zarr")
            adata = read_zarr(tmp_path / "screen.zarr")
    once = adata.copy()
    spm.pp.perturbation_labels(adata, **options)
    for slot in SLOTS:
        assert adata.obs[slot].astype(str).tolist() == once.obs[slot].astype(str).tolist()
    assert list(adata.obs) == list(once.obs)
    assert {slot: adata.obs[slot].dtype for slot in SLOTS[:4]} == {slot: once.obs[slot].dtype for slot in SLOTS[:4]}
    if through == "memory":
        assert_same(adata, once)


def test_a_second_column_can_be_read_after_the_first():
    adata = screen(["ctrl", "A", "A"], column="perturbation", drug=["DMSO", "x", "y"])
    spm.pp.perturbation_labels(adata, "perturbation")
    spm.pp.perturbation_labels(adata, "drug")
    assert adata.obs["perturbation"].tolist() == ["control", "x", "y"]
    spm.pp.perturbation_labels(adata, "perturbation")
    assert adata.obs["perturbation"].tolist() == ["control", "A", "A"]
    assert adata.obs["perturbation_original"].tolist() == ["ctrl", "A", "A"]


def test_the_kind_of_an_earlier_run_does_not_stick():
    adata = screen(["NT", "A"], column="sgRNA", condition=["ctrl", "A"])
    spm.pp.perturbation_labels(adata, "sgRNA")
    assert adata.obs["perturbation_type"].tolist() == ["control", "knockout"]
    spm.pp.perturbation_labels(adata, "condition")
    assert adata.obs["perturbation_type"].tolist() == ["control", "unknown"]


def test_labels_survive_a_concatenation_that_loses_uns():
    adata = screen(["ctrl", "A_KO", "MYC:CRISPRa", "MYC_KO"], column="perturbation")
    spm.pp.perturbation_labels(adata)
    joined = concat([adata, adata], index_unique="-")
    assert not joined.uns
    spm.pp.perturbation_labels(joined)
    assert joined.obs["perturbation"].tolist() == adata.obs["perturbation"].tolist() * 2
    assert joined.obs["perturbation_type"].tolist() == adata.obs["perturbation_type"].tolist() * 2


def test_something_else_in_uns_does_not_make_the_users_column_ours():
    adata = theirs()
    adata.uns["perturbation"] = ["red", "blue"]
    spm.pp.perturbation_labels(adata, "perturbation")
    assert adata.obs["perturbation_original"].tolist()[0] == "ctrl"


def test_slots_survive_a_file(tmp_path):
    adata = screen(["ctrl", "A+ctrl", None, "x@3", "(+)-JQ1"])
    spm.pp.perturbation_labels(adata, "label")
    adata.write_h5ad(tmp_path / "screen.h5ad")
    back = read_h5ad(tmp_path / "screen.h5ad")
    for slot in SLOTS:
        assert back.obs[slot].astype(str).tolist() == adata.obs[slot].astype(str).tolist()
    pd.testing.assert_frame_equal(
        back.uns["perturbation"]["labels"], adata.uns["perturbation"]["labels"], check_dtype=False
    )


# difficult and bad input


def test_a_view_becomes_its_own_object_and_the_parent_is_left_alone():
    parent = screen(["ctrl", "A", "B"])
    view = parent[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spm.pp.perturbation_labels(view, "label")
    assert view.obs["perturbation"].tolist() == ["control", "A"]
    assert list(parent.obs) == ["label"]


def test_a_backed_screen_is_refused_with_the_remedy(tmp_path):
    screen(["ctrl", "A"]).write_h5ad(tmp_path / "screen.h5ad")
    backed = read_h5ad(tmp_path / "screen.h5ad", backed="r+")
    with pytest.raises(ValueError, match="backed by.*to_memory"):
        spm.pp.perturbation_labels(backed, "label")
    backed.file.close()


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_cells_and_genes_that_occur_twice_do_no_harm():
    adata = screen(["ctrl", "A", "B"], genes=("TP53", "TP53"))
    adata.obs_names = ["c", "c", "d"]
    spm.pp.perturbation_labels(adata, "label")
    assert adata.obs["perturbation"].tolist() == ["control", "A", "B"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"column": "lable"}, KeyError, "column='lable'.*Did you mean 'label'"),
        ({"column": "empty"}, ValueError, "no cell has a label"),
        ({"column": "label", "dose": "doze"}, KeyError, "dose='doze'"),
        ({"column": "label", "dose": "below"}, ValueError, "finite and not negative; found from -1"),
        ({"column": "label", "dose": "words"}, ValueError, "such as '1\\+1'"),
        ({"column": "label", "dose": "infinite"}, ValueError, "finite"),
        ({"column": "label", "perturbation_type": "magic"}, ValueError, "must be one of.*found 'magic'"),
        ({"column": "tuples"}, ValueError, "cannot be read"),
        ({"column": "units"}, ValueError, r"doses of 'x' are in \['mg/kg', 'nM'\].*one family"),
        ({"column": "label", "dose_unit": "parsec"}, ValueError, r"a column of `adata.obs` or one of \['M'.*'parsec'"),
        ({"column": "label", "dose": "one", "dose_unit": "words"}, ValueError, r"one of \['M', 'mM'.*found '1\+1'"),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_is_changed(options, error, said):
    adata = screen(
        ["ctrl", "A"],
        empty=[None, ""],
        below=[-1.0, 1.0],
        words=["1", "1+1"],
        infinite=[1, np.inf],
        tuples=["ctrl", "('a', b)"],
        units=["('x', 1, 'nM')", "('x', 1, 'mg/kg')"],
        one=[np.nan, 1],
    )
    before = adata.copy()
    with pytest.raises(error, match=said):
        spm.pp.perturbation_labels(adata, **options)
    assert_same(adata, before)


def test_a_screen_without_a_column_to_find_is_refused_with_the_remedy():
    with pytest.raises(KeyError, match=r"Name it: `spm.pp.perturbation_labels\(adata, .*total"):
        spm.pp.perturbation_labels(screen(["A", "B"], column="total"))


# public screens


@pytest.mark.data
def test_norman_is_read_as_published(shared_data):
    adata = read_h5ad(shared_data / "data" / "norman2019_k562_crispra.h5ad")
    spm.pp.perturbation_labels(adata)
    sorted_parts = adata.obs["perturbation_original"].astype(str).map(lambda label: "+".join(sorted(label.split("+"))))
    assert (adata.obs["perturbation"].astype(str) == sorted_parts).all()
    assert (adata.obs["is_control"] == adata.obs["control"]).all()
    assert (adata.obs["n_parts"] == adata.obs["nperts"]).all()
    assert set(adata.obs.loc[~adata.obs["is_control"], "perturbation_type"]) == {"CRISPRa"}
    sizes = adata.obs.groupby("n_parts")["perturbation"].nunique()
    assert sizes.to_dict() == {0: 1, 1: 18, 2: 15}


@pytest.mark.data
@pytest.mark.parametrize("column", ["perturbation", "target", None])
def test_papalexi_has_25_genes_and_2197_controls(shared_data, column):
    adata = read_h5ad(shared_data / "data" / "papalexi2021_thp1_crisprko.h5ad")
    spm.pp.perturbation_labels(adata, column)
    assert adata.obs["is_control"].sum() == 2197
    assert adata.obs["perturbation"].nunique() == 26
    assert adata.obs["perturbation_idx"].max() == 25


@pytest.mark.data
def test_tggates_has_drugs_at_doses(shared_data):
    adata = read_h5ad(shared_data / "data" / "tggates_human_hepatocyte_dose.h5ad")
    spm.pp.perturbation_labels(adata, dose="dose", dose_unit="uM")
    treated = ~adata.obs["is_control"]
    assert (adata.obs["is_control"] == adata.obs["control"]).all()
    np.testing.assert_allclose(adata.obs.loc[treated, "dose"], adata.obs.loc[treated, "dose_original"], rtol=1e-9)
    assert adata.obs.loc[~treated, "dose"].isna().all()
    assert set(adata.obs.loc[treated, "perturbation_type"]) == {"drug"}
    published = adata.obs[treated].groupby(["perturbation_original", "dose_original"], observed=True).ngroups
    assert adata.obs.loc[treated, "perturbation"].nunique() == published


@pytest.mark.data
def test_morphic_contrasts_have_no_control_and_say_so(shared_data):
    adata = read_h5ad(shared_data / "data" / "morphic_bulk_ko_lfc.h5ad")
    with pytest.warns(UserWarning, match="no control cell"):
        spm.pp.perturbation_labels(adata, perturbation_type="knockout")
    assert adata.obs["perturbation"].nunique() == 54
