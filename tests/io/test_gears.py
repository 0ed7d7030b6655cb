import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import scperturbmamba as spm
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.control_names import is_control_name
from scperturbmamba.data.dialects import read_label

symbol = st.from_regex(r"[A-Z][A-Z0-9]{1,6}", fullmatch=True).filter(lambda name: not is_control_name(name))


def labelled(labels, **columns):
    x = np.random.default_rng(0).random((len(labels), 3)).astype(np.float32)
    obs = pd.DataFrame({"perturbation": pd.Categorical(labels), **columns}, index=[f"c{i}" for i in range(len(labels))])
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=["A", "B", "C"]))


def test_the_object_is_the_one_that_gears_makes_for_itself(screen):
    gears = spm.io.to_gears(screen, context="cell_line")
    assert sp.isspmatrix_csr(gears.X) and gears.X.dtype == np.float32
    assert list(gears.var["gene_name"]) == list(screen.var_names)
    for cell in gears.obs.itertuples():
        pair = len(cell.condition.split("+")) == 2
        assert cell.dose_val == ("1+1" if pair else "1") and cell.control == (0 if pair else 1)
        assert cell.condition_name == "_".join([cell.cell_type, cell.condition, cell.dose_val])
    assert {"ctrl"} == set(gears.obs.loc[gears.obs["control"] == 1, "condition"])
    assert set(gears.obs["cell_type"]) == {"line_A", "line_B"}


def test_every_labelled_cell_keeps_its_numbers_and_its_side(screen):
    gears = spm.io.to_gears(screen)
    kept = screen[screen.obs["perturbation"].notna()]
    assert kept.n_obs < screen.n_obs
    assert list(gears.obs_names) == list(kept.obs_names)
    np.testing.assert_array_equal(gears.X.toarray(), kept.X.toarray())
    assert list(gears.obs["split"]) == list(kept.obs["split"])
    assert set(gears.obs["cell_type"]) == {"all"}


def test_the_labels_come_back_as_they_were(screen):
    gears = spm.io.to_gears(screen)
    spm.pp.perturbation_labels(gears, "condition", perturbation_type="CRISPRi")
    expected = screen.obs["perturbation"].dropna().astype(str)
    assert list(gears.obs["perturbation"].astype(str)) == list(expected)


@given(st.lists(symbol, min_size=1, max_size=2, unique=True))
def test_any_gene_or_pair_is_spelled_so_that_it_reads_the_same(names):
    condition = Condition.of(*names)
    gears = spm.io.to_gears(labelled(["control", "control", condition.label, condition.label]))
    spelled = gears.obs["condition"].iloc[-1]
    assert spelled.count("+") == 1 and "ctrl" in gears.obs["condition"].values
    assert read_label(spelled, set(names)).condition == condition


def test_what_the_screen_says_of_genes_and_cell_types_is_kept():
    adata = labelled(["control", "control", "A", "A"], cell_type="K562")
    adata.var["gene_name"] = ["a", "b", "c"]
    gears = spm.io.to_gears(adata)
    assert list(gears.var["gene_name"]) == ["a", "b", "c"]
    assert list(gears.obs["condition_name"].unique()) == ["K562_ctrl_1", "K562_A+ctrl_1+1"]


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("A+B+C", "'A\\+B\\+C' has 3 parts"),
        ("dasatinib@10", "'dasatinib@10' has a dose"),
        ("A:CRISPRa", "one of two ways"),
        ("A\\+B", "would take apart"),
        ("drug:drug", "is a drug"),
    ],
)
def test_what_gears_cannot_say_is_refused_by_name(label, reason):
    with pytest.raises(ValueError, match=reason):
        spm.io.to_gears(labelled(["control", "control", label, label]))


def test_a_drug_without_a_dose_is_known_by_its_type():
    adata = labelled(["control", "dasatinib"], perturbation_type=["control", "drug"])
    with pytest.raises(ValueError, match="'dasatinib' is a drug"):
        spm.io.to_gears(adata)


def test_a_cell_type_needs_controls_and_a_condition_two_cells():
    lines = ["one", "one", "one", "two"]
    with pytest.raises(ValueError, match=r"none in \['two'\]"):
        spm.io.to_gears(labelled(["control", "control", "A", "A"], line=lines), context="line")
    with pytest.raises(ValueError, match="1 have none"):
        spm.io.to_gears(labelled(["control", "A"], line=["one", None]), context="line")
    with pytest.warns(UserWarning, match=r"1 conditions have one cell, such as \['all_B\+ctrl_1\+1'\]"):
        spm.io.to_gears(labelled(["control", "control", "A", "A", "B"]))


def test_counts_and_unread_labels_are_refused(screen):
    with pytest.raises(KeyError, match="perturbation_labels"):
        spm.io.to_gears(spm.datasets.toy(n_genes=30, n_singles=8, n_doubles=1))
    screen.X = screen.layers["counts"]
    with pytest.raises(ValueError, match="whole numbers"):
        spm.io.to_gears(screen)
