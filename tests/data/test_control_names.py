import pandas as pd
import pytest

from scperturbmamba.data.control_names import (
    is_control_name,
    is_multiplet_name,
    is_unlabelled_name,
    resembles_control,
)

CONTROLS = (
    "control Control CTRL ctrl non-targeting non_targeting Non-Targeting NT nt NTC scrambled scramble DMSO DMSO_TF "
    "vehicle untreated unperturbed safe-targeting NegCtrl0 NegCtrl11 NT_5 NTg1 non-targeting_00023 neg_ctrl mock WT"
).split()
UNLABELLED = ["", " ", "nan", "NaN", "None", "unassigned", "Unassigned", "unlabelled", "NA", "negative", "*", "unknown"]
TYPOS = "contrl cntrol conrol crtl ctlr non-targetting nontargting scrabmled untreatd vehicule DSMO".split()


@pytest.mark.parametrize("name", CONTROLS)
def test_the_usual_words_for_a_control_are_known_in_any_case_and_numbered(name):
    assert is_control_name(name)
    assert not is_unlabelled_name(name)
    assert not resembles_control(name)


@pytest.mark.parametrize("name", UNLABELLED)
def test_words_for_an_unlabelled_cell_are_no_controls(name):
    assert is_unlabelled_name(name)
    assert not is_control_name(name)


@pytest.mark.parametrize("name", TYPOS)
def test_misspelt_controls_are_suspected_but_not_taken_for_controls(name):
    assert resembles_control(name)
    assert not is_control_name(name)


@pytest.mark.parametrize("name", ["WT1", "SCRG1", "NTF3", "NT5E", "CTRB1", "SCRIB", "NEGR1", "MOCOS", "TP53", "Y_RNA"])
def test_genes_that_look_like_a_control_word_are_genes(name):
    assert not is_control_name(name)
    assert not is_unlabelled_name(name)
    assert not resembles_control(name)


def test_words_for_a_multiplet_are_known():
    assert all(map(is_multiplet_name, ["multiplet", "Doublet", "multiple"]))
    assert not any(map(is_multiplet_name, ["control", "MYC"]))


@pytest.mark.data
def test_no_protein_coding_gene_but_ctrl_is_read_as_a_control_or_as_no_label(shared_data):
    genes = pd.read_csv(shared_data / "knowledge" / "grch38_protein_coding_genes.csv.gz")["symbol"].dropna().astype(str)
    assert len(genes) > 19_000
    assert [name for name in genes if is_control_name(name)] == ["CTRL"]
    assert [name for name in genes if is_unlabelled_name(name) or is_multiplet_name(name)] == []
