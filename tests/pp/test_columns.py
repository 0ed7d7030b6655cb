import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

import scperturbmamba as spm

GEARS = {
    "condition": ["ctrl", "CBL+CNN1", "FEV+ctrl"],
    "cell_type": ["A549"] * 3,
    "dose_val": ["1", "1+1", "1+1"],
    "control": [1, 0, 0],
    "condition_name": ["A549_ctrl_1", "A549_CBL+CNN1_1+1", "A549_FEV+ctrl_1+1"],
}


def screen(**columns):
    n = len(next(iter(columns.values()))) if columns else 3
    return AnnData(np.zeros((n, 2)), obs=pd.DataFrame(columns, index=[f"c{number}" for number in range(n)]))


def found(**columns):
    return spm.pp.detect_columns(screen(**columns))


@pytest.mark.parametrize(
    "column",
    ["perturbation", "condition", "guide_identity", "gene_target", "treatment", "compound", "drug", "sgRNA", "guide_id",
     "target_gene", "perturbation_name", "guide_target", "gene", "cell_type+condition", "Perturbation", "Gene Target"],
)  # fmt: skip
def test_every_usual_name_of_a_perturbation_column_is_recognised(column):
    assert found(**{"total": [1, 2, 3], column: ["control", "A", "B"]})["perturbation"] == column


@pytest.mark.parametrize("column", ["dose", "concentration", "dose_value", "dose_amount", "dose_val", "Dose"])
def test_every_usual_name_of_a_dose_column_is_recognised(column):
    assert found(drug=["DMSO", "A", "B"], **{column: [0, 1.5, np.nan]})["dose"] == column
    assert found(drug=["DMSO", "A", "B"], **{column: ["0", "1.5", "10"]})["dose"] == column


@pytest.mark.parametrize("values", [["1", "1+1", "1+1"], [np.nan] * 3, [True, False, True], ["low", "high", "low"]])
def test_a_dose_column_without_numbers_is_none(values):
    assert found(condition=["ctrl", "A", "B"], dose_val=values)["dose"] is None


def test_a_gears_file_is_recognised_as_genes_not_drugs():
    columns = found(**GEARS)
    assert columns["perturbation"] == "condition"
    assert columns["context"] == "cell_type"
    assert columns["control"] == ["ctrl"]
    assert (columns["dose"], columns["kind"]) == (None, "unknown")


def test_targets_come_before_the_guides_that_hit_them():
    assert found(guide_identity=["NT_g1", "A_g1", "B_g1"], guide_target=["control", "A", "B"])["perturbation"] == (
        "guide_target"
    )


def test_a_column_that_holds_a_control_label_comes_before_a_name_without_one():
    columns = found(condition=["rest", "stim", "stim"], cell_type=["control", "A", "B"])
    assert columns["perturbation"] == "cell_type"
    assert columns["context"] is None


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"sgRNA": ["NT", "A", "B"]}, "knockout"),
        ({"compound": ["DMSO", "A", "B"]}, "drug"),
        ({"perturbation": ["control", "A_KO", "B_KO"]}, "knockout"),
        ({"perturbation": ["control", "MYC_activation", "B"]}, "CRISPRa"),
        ({"perturbation": ["control", "dasatinib@10", "B"]}, "drug"),
        ({"perturbation": ["control", "A", "B"], "dose": [0, 1, 2]}, "drug"),
        ({"sgRNA": ["NT", "A", "B"], "modality": ["CRISPRi"] * 3}, "CRISPRi"),
        ({"sgRNA": ["NT", "A", "B"], "modality": ["CRISPRi", "CRISPRi", "CRISPRa"]}, "knockout"),
        ({"perturbation": ["control", "A", "B"]}, "unknown"),
    ],
)
def test_the_kind_is_read_from_the_type_column_then_the_name_then_the_values_then_the_dose(columns, kind):
    assert found(**columns)["kind"] == kind


def test_every_spelling_of_the_control_is_listed():
    labels = ["control", "Control", "non-targeting", "A", None]
    assert found(perturbation=labels)["control"] == ["Control", "control", "non-targeting"]


def test_a_table_without_anything_recognisable_gives_none():
    columns = found(total=[1.0, 2.0, 3.0])
    assert columns == {**dict.fromkeys(columns), "control": [], "kind": "unknown"}
    assert spm.pp.detect_columns(screen())["perturbation"] is None


def test_nothing_is_written():
    adata = screen(**GEARS)
    before = adata.copy()
    spm.pp.detect_columns(adata)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "norman2019_k562_crispra",
            {"perturbation": "perturbation", "control": ["control"], "perturbation_type": "perturbation_type",
             "context": "cell_type", "dose": None, "kind": "CRISPRa"},
        ),
        (
            "papalexi2021_thp1_crisprko",
            {"perturbation": "perturbation", "control": ["control"], "guide": "guide", "batch": "bio_rep"},
        ),
        (
            "tggates_human_hepatocyte_dose",
            {"perturbation": "perturbation", "control": ["control"], "dose": "dose", "kind": "drug"},
        ),
        ("morphic_bulk_ko_lfc", {"perturbation": "perturbation", "control": [], "dose": None}),
        ("pbmc3k_1000cells", {"perturbation": None, "control": []}),
    ],
)  # fmt: skip
def test_the_columns_of_the_public_screens_are_recognised(shared_data, name, expected):
    columns = spm.pp.detect_columns(read_h5ad(shared_data / "data" / f"{name}.h5ad"))
    assert {role: columns[role] for role in expected} == expected
