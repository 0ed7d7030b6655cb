import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.stats
from anndata import AnnData

import scperturbmamba as spm


@pytest.fixture
def predicted():
    delta = np.array([[0.1, -3.0, 2.0], [0.0, 0.5, -0.5]], np.float32)
    obs = pd.DataFrame({"perturbation": ["TP53", "MYC+TP53"]}, index=["TP53", "MYC+TP53"])
    var = pd.DataFrame(index=["A", "B", "C"])
    adata = AnnData(np.ones((2, 3), np.float32), obs=obs, var=var, layers={"delta": delta, "other": -delta})
    scores = {"model": ["predicted", "mean"], "perturbation": "TP53", "metric": "mse", "value": [0.5, 1.0]}
    adata.uns["evaluation"] = {"scores": pd.DataFrame(scores, index=["0", "1"])}
    history = pd.DataFrame({"epoch": [1, 2], "val_loss": [1.0, 0.5]}, index=["0", "1"])
    adata.uns["predictor"] = {"history": history, "params": {}}
    return adata


def test_effects_are_listed_strongest_first_within_each_condition(predicted):
    table = spm.get.effects(predicted)
    assert list(table.columns) == ["perturbation", "gene", "delta"]
    assert table["perturbation"].tolist() == ["TP53"] * 3 + ["MYC+TP53"] * 3
    assert table["gene"].tolist() == ["B", "C", "A", "B", "C", "A"]
    np.testing.assert_allclose(table["delta"], [-3, 2, 0.1, 0.5, -0.5, 0], rtol=1e-6)
    assert list(table.index) == list(range(6))


def test_effects_are_those_of_the_conditions_and_the_layer_asked_for(predicted):
    one = spm.get.effects(predicted, "MYC+TP53", layer="other")
    assert one["gene"].tolist() == ["B", "C", "A"] and one["delta"].tolist() == [-0.5, 0.5, 0]
    assert spm.get.effects(predicted, ["MYC+TP53", "TP53"])["perturbation"].tolist()[0] == "MYC+TP53"


def test_effects_agree_with_the_layer_of_a_pseudobulk():
    adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    bulk = spm.pp.pseudobulk(adata)
    table = spm.get.effects(bulk).pivot(index="perturbation", columns="gene", values="delta")
    expected = bulk.to_df(layer="delta")
    np.testing.assert_array_equal(table.loc[expected.index, expected.columns], expected)


@pytest.fixture
def measured():
    """Three conditions over three genes with errors; one gene of MYC was not measured, one of TP53 has no error."""
    delta = np.array([[0, 0, 0], [0.5, -2.0, 0.1], [np.nan, 1.0, -0.3]], np.float32)
    se = np.array([[0.1, 0.1, 0.1], [0.25, 0.5, 0.0], [0.1, 0.25, 0.1]], np.float32)
    names = ["control", "TP53", "MYC"]
    obs = pd.DataFrame({"perturbation": pd.Categorical(names)}, index=names)
    var = pd.DataFrame(index=["A", "B", "C"])
    return AnnData(np.ones((3, 3), np.float32), obs=obs, var=var, layers={"delta": delta, "se": se, "other": -delta})


SCANPY = ["group", "names", "scores", "logfoldchanges", "pvals", "pvals_adj"]
PDEX = ["target", "feature", "log2_fold_change", "p_value", "fdr"]


def test_the_columns_of_scanpy_are_those_that_scanpy_gives():
    adata = spm.datasets.toy(n_genes=20, n_singles=5, n_doubles=0, cells_per_condition=10)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    labelled = adata[adata.obs["perturbation"].notna()].copy()
    sc.tl.rank_genes_groups(labelled, "perturbation", reference="control", method="t-test")
    ours = spm.get.effects(spm.pp.pseudobulk(adata), names="scanpy")
    theirs = sc.get.rank_genes_groups_df(labelled, None)
    assert list(ours) == list(theirs) == SCANPY
    assert set(ours["group"]) == set(theirs["group"])  # the reference is in neither
    both = ours.merge(theirs, on=["group", "names"], suffixes=("", "_theirs"))
    assert len(both) == len(ours)
    np.testing.assert_allclose(both["scores"], both["scores_theirs"], rtol=1e-3)  # Welch's, as our errors are


def test_scores_and_p_values_are_those_of_a_normal_test_adjusted_within_a_condition(measured):
    table = spm.get.effects(measured, names="scanpy")
    assert table["group"].tolist() == ["TP53"] * 3 + ["MYC"] * 2
    assert table["names"].tolist() == ["B", "A", "C", "B", "C"]
    np.testing.assert_allclose(table["scores"], [-4, 2, np.nan, 4, -3], rtol=1e-6)
    np.testing.assert_allclose(table["logfoldchanges"], np.array([-2, 0.5, 0.1, 1, -0.3]) / np.log(2), rtol=1e-6)
    p = 2 * scipy.stats.norm.cdf([-4, -2, np.nan, -4, -3])
    np.testing.assert_allclose(table["pvals"], p, rtol=1e-5)
    np.testing.assert_allclose(table["pvals_adj"], [2 * p[0], p[1], np.nan, 2 * p[3], p[4]], rtol=1e-5)


def test_the_names_of_pdex_hold_the_same_numbers(measured):
    ours, theirs = spm.get.effects(measured, names="pdex"), spm.get.effects(measured, names="scanpy")
    assert list(ours) == PDEX
    pd.testing.assert_frame_equal(ours, theirs.drop(columns="scores").set_axis(PDEX, axis=1))


def test_doubling_the_counts_of_a_well_expressed_gene_is_a_log2_fold_change_of_one():
    mean = np.array([[500.0], [1000.0]])
    delta = (np.log1p(mean) - np.log1p(mean[0])).astype(np.float32)
    obs = pd.DataFrame({"perturbation": ["control", "TP53"]}, index=["control", "TP53"])
    adata = AnnData(np.log1p(mean), obs=obs, layers={"delta": delta})
    assert spm.get.effects(adata, names="pdex")["log2_fold_change"].item() == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("layer", ["delta", "other"])
def test_without_an_error_of_that_layer_nothing_is_tested(measured, layer):
    if layer == "delta":
        del measured.layers["se"]
    table = spm.get.effects(measured, names="scanpy", layer=layer)
    assert table[["scores", "pvals", "pvals_adj"]].isna().all(axis=None) and table["logfoldchanges"].notna().all()


def test_a_spread_of_predictions_serves_as_the_error(measured):
    with_se = spm.get.effects(measured, names="pdex")
    measured.layers["sd"] = measured.layers["se"].copy()
    del measured.layers["se"]
    pd.testing.assert_frame_equal(spm.get.effects(measured, names="pdex"), with_se)


def test_the_control_is_in_the_table_of_another_package_only_if_asked_for(measured):
    assert set(spm.get.effects(measured, names="pdex")["target"]) == {"TP53", "MYC"}
    asked = spm.get.effects(measured, ["control", "MYC"], names="pdex")
    assert asked["target"].unique().tolist() == ["control", "MYC"]
    assert (asked.query("target == 'control'")["p_value"] == 1).all()
    assert len(spm.get.effects(measured)) == 9  # our own table is as it was: every row, every gene


def test_cell_eval_takes_the_table_of_pdex(measured):
    types = pytest.importorskip("cell_eval._types")
    polars = pytest.importorskip("polars")
    table = polars.DataFrame(spm.get.effects(measured, names="pdex").to_dict(orient="list"))
    found = types.initialize_de_comparison(real=table, pred=table)
    assert sorted(found.real.get_significant_genes("TP53").ravel()) == ["A", "B"]


@pytest.fixture
def compared():
    """Four rows of which two act alike, one is opposite; the control has no similarity."""
    names = ["control", "TP53", "MYC", "KLF1"]
    alike = np.array([[1, 0.5, -0.9], [0.5, 1, 0.1], [-0.9, 0.1, 1]], np.float32)
    full = np.full((4, 4), np.nan, np.float32)
    full[1:, 1:] = alike
    return AnnData(np.ones((4, 2), np.float32), obs=pd.DataFrame(index=names), obsp={"similarity": full, "mine": -full})


def test_neighbours_are_listed_most_alike_first_without_the_row_itself(compared):
    table = spm.get.similar(compared)
    assert list(table) == ["perturbation", "neighbour", "similarity"]
    assert table["perturbation"].tolist() == ["TP53"] * 2 + ["MYC"] * 2 + ["KLF1"] * 2
    assert table["neighbour"].tolist() == ["MYC", "KLF1", "TP53", "KLF1", "MYC", "TP53"]
    np.testing.assert_allclose(table["similarity"], [0.5, -0.9, 0.5, 0.1, 0.1, -0.9], rtol=1e-6)


def test_neighbours_are_those_of_the_rows_and_the_number_asked_for(compared):
    assert spm.get.similar(compared, "KLF1", n=1).values.tolist() == [["KLF1", "MYC", pytest.approx(0.1)]]
    assert spm.get.similar(compared, ["MYC", "TP53"], n=1)["neighbour"].tolist() == ["TP53", "MYC"]
    assert spm.get.similar(compared, "TP53", key="mine")["neighbour"].tolist() == ["KLF1", "MYC"]
    assert len(spm.get.similar(compared, [])) == 0


def test_a_row_without_a_similarity_is_named_with_the_nearest(compared):
    with pytest.raises(KeyError, match="no similarity for 'TP35'. Did you mean 'TP53'"):
        spm.get.similar(compared, "TP35")
    with pytest.raises(KeyError, match="no similarity for 'control'"):
        spm.get.similar(compared, "control")


def test_scores_come_from_whichever_slot_is_there(predicted):
    pd.testing.assert_frame_equal(
        spm.get.scores(predicted), predicted.uns["evaluation"]["scores"].reset_index(drop=True)
    )
    predicted.uns["benchmark"] = {"scores": predicted.uns["evaluation"]["scores"].assign(seed=0)}
    assert "seed" not in spm.get.scores(predicted)
    assert "seed" in spm.get.scores(predicted, key="benchmark")
    del predicted.uns["evaluation"]
    assert "seed" in spm.get.scores(predicted)


def test_a_history_is_the_table_of_the_training(predicted):
    table = spm.get.history(predicted)
    assert table["epoch"].tolist() == [1, 2] and list(table.index) == [0, 1]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a: spm.get.effects(a, "TP35"), "TP35"),
        (lambda a: spm.get.effects(a, layer="core"), "spm.tl.predict"),
        (lambda a: spm.get.similar(a), "spm.tl.similar_perturbations"),
        (lambda a: spm.get.scores(a, key="mine"), "spm.tl.evaluate"),
        (lambda a: spm.get.history(a, key="mine"), "spm.tl.train_predictor"),
    ],
)
def test_what_is_not_there_is_named_with_the_call_that_makes_it(predicted, call, text):
    with pytest.raises(KeyError, match=text):
        call(predicted)


@pytest.mark.parametrize("names", ["Scanpy", "edger", None])
def test_names_of_another_house_are_refused(predicted, names):
    with pytest.raises(ValueError, match="spm.*scanpy.*pdex"):
        spm.get.effects(predicted, names=names)


def test_a_table_is_the_reader_s_own(predicted):
    spm.get.scores(predicted)["value"] = -1
    spm.get.history(predicted)["val_loss"] = -1
    spm.get.effects(predicted)["delta"] = -1
    assert (predicted.uns["evaluation"]["scores"]["value"] > 0).all()
    assert (predicted.uns["predictor"]["history"]["val_loss"] > 0).all()
    assert predicted.layers["delta"].max() == 2
