import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation

import scperturbmamba as spm
from scperturbmamba.pp._guides import assign_guides
from scperturbmamba.pp._labels import perturbation_labels
from scperturbmamba.pp._qc import qc_perturbseq
from scperturbmamba.pp._qc_limits import gene_limits, histogram, mt_limit
from scperturbmamba.pp._qc_reasons import Cells, drop_reasons, rules, waterfall

REASONS = [
    "no counts", "few genes", "many genes", "mitochondrial", "unlabelled", "multiplet", "few cells of the condition",
]  # fmt: skip
RULE = r"^(.+)_g\d+$"


@pytest.fixture(scope="module")
def screen() -> ad.AnnData:
    adata = spm.datasets.toy(n_genes=60, n_singles=16, n_doubles=3, n_outside=2, cells_per_condition=30, n_control=150)
    perturbation_labels(adata, "condition")
    return adata


@pytest.fixture
def adata(screen):
    return screen.copy()


def labelled(counts, labels, *, genes=None, controls=("control",)) -> ad.AnnData:
    """A screen from a matrix and canonical labels, with the slots set by hand."""
    adata = ad.AnnData(sp.csr_matrix(np.asarray(counts, dtype=np.float32)))
    adata.var_names = genes or [f"G{n}" for n in range(adata.n_vars)]
    adata.obs["perturbation"] = pd.Categorical(labels)
    adata.obs["is_control"] = adata.obs["perturbation"].isin(controls).to_numpy()
    n_parts = [0 if label in controls else -1 if label is None else label.count("+") + 1 for label in labels]
    adata.obs["n_parts"] = n_parts
    return adata


def test_per_cell_metrics_are_those_of_scanpy(adata):
    adata.var_names = [f"MT-{n}" if n < 4 else name for n, name in enumerate(adata.var_names)]
    expected = adata.copy()
    expected.var["mt"] = expected.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(expected, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)
    qc_perturbseq(adata, subset=False)
    for name in ("total_counts", "n_genes_by_counts", "pct_counts_mt"):
        np.testing.assert_array_equal(adata.obs[name], expected.obs[name])


def test_mitochondrial_share_is_left_out_where_no_such_gene_is_measured(adata):
    qc_perturbseq(adata)
    assert "pct_counts_mt" not in adata.obs
    assert adata.uns["qc"]["params"]["max_pct_mt"] is None
    assert adata.uns["qc"]["waterfall"].loc["mitochondrial", "n_dropped"] == 0


def test_each_reason_drops_its_cell_and_the_first_one_is_named():
    rng = np.random.default_rng(0)
    genes = [*(f"G{n}" for n in range(60)), "MT-CO1"]
    labels = ["control"] * 100 + ["A"] * 100 + ["B"] * 3
    counts = np.zeros((len(labels), 61))
    for row in counts:
        row[rng.choice(60, 20, replace=False)] = 1 + rng.poisson(2, 20)
    adata = labelled(counts, labels, genes=genes)
    matrix = adata.X.toarray()
    matrix[0] = 0
    matrix[1, 5:] = 0
    matrix[1, 0] = 1
    matrix[2] = 1
    matrix[3, 60] = 500
    matrix[4, 60] = matrix[4].sum() * 100
    adata.X = sp.csr_matrix(matrix)
    for cell in (3, 5):
        adata.obs["perturbation"] = adata.obs["perturbation"].astype(object)
        adata.obs.iloc[cell, 0] = np.nan
    adata.obs["perturbation"] = adata.obs["perturbation"].astype("category")
    adata.obs.iloc[6, adata.obs.columns.get_loc("n_parts")] = 2
    qc_perturbseq(adata, max_targets=1, max_genes=50, subset=False)
    found = adata.obs["qc_reason"].astype(str).to_list()
    assert found[:7] == [
        "no counts", "few genes", "many genes", "mitochondrial", "mitochondrial", "unlabelled", "multiplet",
    ]  # fmt: skip
    assert found[-3:] == ["few cells of the condition"] * 3
    assert set(found[7:-3]) == {"kept"}


def test_waterfall_adds_up_and_cells_that_are_left_are_those_kept(adata):
    n_before = adata.n_obs
    qc_perturbseq(adata, min_cells=32)
    table = adata.uns["qc"]["waterfall"]
    assert list(table.index) == REASONS
    assert n_before - table["n_dropped"].sum() == table["n_left"].iloc[-1] == adata.n_obs
    assert (adata.obs["qc_reason"] == "kept").all()
    assert table.loc["few cells of the condition", "n_dropped"] > 0


cell_rows = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.floats(0, 100),
        st.sampled_from([None, "control", "A", "B", "A+B"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(rows=cell_rows, min_cells=st.integers(1, 5), max_targets=st.integers(1, 2))
def test_every_cell_has_one_reason_and_the_waterfall_counts_each_once(rows, min_cells, max_targets):
    n_genes, pct_mt, labels, n_targets = zip(*rows)
    metrics = pd.DataFrame({"n_genes_by_counts": n_genes, "total_counts": n_genes, "pct_counts_mt": pct_mt})
    series = pd.Series(pd.Categorical(labels))
    cells = Cells(series, (series == "control").to_numpy(), np.array(n_targets))
    limits = {"min_genes": 5, "max_genes": 30, "max_pct_mt": 60.0}
    reasons = drop_reasons(metrics, cells, limits, max_targets=max_targets, min_cells=min_cells)
    table = waterfall(reasons, rules(limits, max_targets, min_cells))
    assert set(reasons) <= {"kept", *table.index}
    assert table["n_left"].iloc[-1] == (reasons == "kept").sum()
    assert (table["n_left"].diff().dropna() <= 0).all()
    assert table["n_dropped"].sum() + (reasons == "kept").sum() == len(rows)
    left = series[reasons == "kept"].value_counts()
    assert ((left == 0) | (left >= min_cells) | (left.index == "control")).all()


def test_limits_are_deviations_from_the_median_on_the_log_scale():
    n_genes = np.rint(np.random.default_rng(1).lognormal(7, 0.5, 3000))
    logs = np.log1p(n_genes)
    reach = 3 * median_abs_deviation(logs) * 1.4826
    low, high = gene_limits(n_genes, 3)
    assert low == int(np.expm1(np.median(logs) - reach))
    assert high == int(np.ceil(np.expm1(np.median(logs) + reach)))


@pytest.mark.parametrize("spread", [0, 1, 3])
def test_limits_never_cut_into_a_narrow_mode(spread):
    n_genes = np.random.default_rng(2).integers(60 - spread, 61 + spread, 500).astype(float)
    low, high = gene_limits(n_genes, 5)
    assert low <= 30
    assert high >= 2 * 59
    assert mt_limit(np.full(100, 1.0), 5) == 5.0
    assert mt_limit(np.full(100, 30.0), 5) == 60.0


def test_a_second_mode_of_poor_cells_falls_below_the_limit():
    rng = np.random.default_rng(3)
    good, poor = np.rint(rng.lognormal(8, 0.2, 900)), np.rint(rng.lognormal(5.5, 0.2, 100))
    low, high = gene_limits(np.concatenate([good, poor]), 5)
    assert poor.max() < low < good.min()
    assert high > good.max()


def test_numbers_of_the_user_win(adata):
    qc_perturbseq(adata, min_genes=30, max_genes=50, min_cells=1)
    assert adata.obs["n_genes_by_counts"].between(30, 50).all()
    assert adata.uns["qc"]["params"]["min_genes"] == 30
    assert adata.uns["qc"]["params"]["max_genes"] == 50


def test_the_control_is_never_dropped_for_few_cells():
    counts = np.ones((33, 5))
    adata = labelled(counts, ["control"] * 3 + ["A"] * 30)
    qc_perturbseq(adata, min_cells=20)
    assert adata.obs["is_control"].sum() == 3


def test_an_empty_cell_is_dropped_for_having_no_counts(adata):
    matrix = adata.X.toarray()
    matrix[7] = 0
    adata.X = sp.csr_matrix(matrix)
    qc_perturbseq(adata, subset=False)
    assert adata.obs["qc_reason"].iloc[7] == "no counts"


def test_combinations_named_by_the_user_are_no_multiplets(adata):
    qc_perturbseq(adata)
    assert adata.uns["qc"]["params"]["max_targets"] == 2
    assert (adata.obs["n_parts"] == 2).any()


def test_labels_from_guides_hold_multiplets_and_designed_pairs_are_pointed_out(adata):
    assign_guides(adata, RULE)
    perturbation_labels(adata, "guide_target")
    combined = adata.copy()
    with pytest.warns(UserWarning, match="max_targets=2"):
        qc_perturbseq(adata)
    assert set(adata.obs["n_parts"]) == {0, 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        qc_perturbseq(combined, max_targets=2)
    assert (combined.obs["n_parts"] == 2).any()


def test_accidental_pairs_are_dropped_without_a_hint():
    adata = spm.datasets.toy(n_genes=40, n_singles=10, n_doubles=0, n_outside=1, cells_per_condition=60)
    assign_guides(adata, RULE)
    perturbation_labels(adata, "guide_target")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        qc_perturbseq(adata)
    assert adata.uns["qc"]["waterfall"].loc["multiplet", "n_dropped"] > 0


def test_knockdown_is_the_ratio_of_library_scaled_means(adata):
    qc_perturbseq(adata)
    table = adata.uns["qc"]["conditions"]
    counts = adata.to_df()
    scaled = counts.div(counts.sum(axis=1), axis=0)
    control = adata.obs["is_control"].to_numpy()
    measured = table[table["status"] == "measured"]
    assert len(measured) > 8
    for label, row in measured.iterrows():
        cells = (adata.obs["perturbation"] == label).to_numpy()
        left = scaled.loc[cells, row["target"]].mean() / scaled.loc[control, row["target"]].mean()
        assert row["target_left"] == pytest.approx(left, rel=1e-5)
        assert row["target_control"] == pytest.approx(counts.loc[control, row["target"]].mean(), rel=1e-5)
        np.testing.assert_allclose(adata.obs.loc[cells, "knockdown"], 1 - left, rtol=1e-4)
    assert measured["target_left"].mean() < 0.5


def test_standard_error_of_the_knockdown_is_that_of_resampled_cells(adata):
    qc_perturbseq(adata)
    table = adata.uns["qc"]["conditions"]
    row = table[(table["status"] == "measured") & (table["target_left"] > 0.1)].iloc[0]
    counts = adata.to_df()
    scaled = counts[row["target"]].to_numpy() / counts.sum(axis=1).to_numpy()
    treated, control = scaled[adata.obs["perturbation"] == row.name], scaled[adata.obs["is_control"]]
    rng = np.random.default_rng(4)
    ratios = [rng.choice(treated, len(treated)).mean() / rng.choice(control, len(control)).mean() for _ in range(4000)]
    assert row["target_left_se"] == pytest.approx(np.std(ratios), rel=0.1)


def test_knockdown_says_why_it_is_missing():
    rng = np.random.default_rng(5)
    genes = ["LOUD", "FAINT", "SILENT", *(f"G{n}" for n in range(30))]
    labels = np.repeat(["control", "LOUD", "FAINT", "SILENT", "ELSEWHERE", "FAINT+LOUD"], 40)
    counts = rng.poisson(3.0, (len(labels), len(genes)))
    counts[:, 1] = rng.random(len(labels)) < 0.1
    counts[:, 2] = 0
    counts[40:80, 0] = 0
    adata = labelled(counts, list(labels), genes=genes)
    qc_perturbseq(adata)
    table = adata.uns["qc"]["conditions"]
    assert table["status"].to_dict() == {
        "control": "control", "LOUD": "measured", "FAINT": "not measurable", "SILENT": "not measurable",
        "ELSEWHERE": "not measured", "FAINT+LOUD": "measured",
    }  # fmt: skip
    assert table.loc["LOUD", "target_left"] == 0
    assert table.loc["LOUD", "target_left_se"] > 0
    assert table.loc["FAINT+LOUD", "target"] == "LOUD"
    assert adata.obs.loc[adata.obs["perturbation"] == "FAINT", "knockdown"].isna().all()
    assert (adata.obs.loc[adata.obs["perturbation"] == "LOUD", "knockdown"] == 1).all()


def test_a_pair_shows_the_target_that_changed_least():
    rng = np.random.default_rng(6)
    counts = rng.poisson(5.0, (200, 20))
    counts[100:, 0] = rng.poisson(0.5, 100)
    counts[100:, 1] = rng.poisson(4.0, 100)
    adata = labelled(counts, ["control"] * 100 + ["G0+G1"] * 100)
    qc_perturbseq(adata)
    row = adata.uns["qc"]["conditions"].loc["G0+G1"]
    assert row["target"] == "G1"
    assert 0.6 < row["target_left"] < 1.1


def test_without_control_cells_quality_control_goes_on(adata):
    adata = adata[~adata.obs["is_control"]].copy()
    qc_perturbseq(adata)
    table = adata.uns["qc"]["conditions"].drop("control", errors="ignore")
    assert set(table["status"]) == {"no control cells", "not measured"}
    assert adata.obs["knockdown"].isna().all()


def test_guides_have_their_own_knockdown(adata):
    assign_guides(adata, RULE)
    perturbation_labels(adata, "guide_target")
    qc_perturbseq(adata, max_targets=2)
    table, conditions = adata.uns["qc"]["guides"], adata.uns["qc"]["conditions"]
    assert list(table.index) == list(adata.uns["guides"]["table"].index)
    gene = conditions.index[conditions["status"] == "measured"][0]
    counts = adata.to_df()
    scaled = counts[gene] / counts.sum(axis=1)
    for guide in (f"{gene}_g1", f"{gene}_g2"):
        cells = adata.obs["guide_identity"] == guide
        left = scaled[cells].mean() / scaled[adata.obs["is_control"]].mean()
        assert table.loc[guide, "n_cells"] == cells.sum()
        assert table.loc[guide, "target_left"] == pytest.approx(left, rel=1e-5)


def test_annotation_alone_drops_nothing_and_says_the_same(adata):
    other = adata.copy()
    qc_perturbseq(adata, subset=False)
    qc_perturbseq(other)
    assert adata.n_obs > other.n_obs
    assert list(adata.obs_names[adata.obs["qc_reason"] == "kept"]) == list(other.obs_names)
    pd.testing.assert_frame_equal(adata.uns["qc"]["conditions"], other.uns["qc"]["conditions"])


def test_counts_are_found_beside_log_data_and_their_source_is_recorded(adata):
    expected = adata.copy()
    qc_perturbseq(expected)
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    qc_perturbseq(adata)
    assert adata.uns["qc"]["params"]["counts_source"] == "layers.counts"
    np.testing.assert_array_equal(adata.obs["total_counts"], expected.obs["total_counts"])


def test_slots_survive_h5ad_and_dropped_layers_follow(adata, tmp_path):
    adata.layers["counts"] = adata.X.copy()
    qc_perturbseq(adata)
    assert adata.layers["counts"].shape == adata.X.shape == (adata.n_obs, adata.n_vars)
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(back.obs, adata.obs)
    for name in ("waterfall", "conditions", "distributions"):
        pd.testing.assert_frame_equal(back.uns["qc"][name], adata.uns["qc"][name], check_index_type=False)
    assert back.uns["qc"]["params"] == pytest.approx(adata.uns["qc"]["params"])


def test_distributions_count_every_cell(adata):
    n = adata.n_obs
    qc_perturbseq(adata)
    sums = adata.uns["qc"]["distributions"].groupby("metric")[["n_cells", "n_kept"]].sum()
    assert (sums["n_cells"] == n).all()
    assert (sums["n_kept"] == adata.n_obs).all()


@pytest.mark.parametrize("scale", ["log", "linear", "whole"])
def test_histograms_hold_every_positive_value_whatever_the_range(scale):
    for values in (np.full(5, 3.0), np.array([1.0, 72.0]), np.arange(1.0, 900.0)):
        bins = histogram(values, values > 1, scale=scale)
        assert bins["n_cells"].sum() == len(values)
        assert bins["n_kept"].sum() == (values > 1).sum()
        assert len(bins["left"]) <= 61


def test_a_view_is_cleaned_without_touching_its_parent(adata):
    n = adata.n_obs
    view = adata[:, :50]
    qc_perturbseq(view)
    assert not view.is_view
    assert view.n_obs < n
    assert adata.n_obs == n
    assert "qc" not in adata.uns


def test_cell_names_may_occur_twice(adata):
    adata.obs_names = ["cell"] * adata.n_obs
    n_kept = int((qc_copy(adata).obs["qc_reason"] == "kept").sum())
    qc_perturbseq(adata)
    assert adata.n_obs == n_kept


def qc_copy(adata):
    other = adata.copy()
    qc_perturbseq(other, subset=False)
    return other


def test_backed_data_are_refused(adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(ValueError, match="to_memory"):
        qc_perturbseq(backed)
    backed.file.close()


def drop_labels(adata):
    del adata.obs["perturbation"]


def log_data(adata):
    sc.pp.log1p(adata)


def twice(adata):
    adata.var_names = [adata.var_names[0], *adata.var_names[:-1]]


def blank(adata):
    adata.X = adata.X * 0


BAD = {
    "no labels": (drop_labels, {}, KeyError, "spm.pp.perturbation_labels"),
    "log data": (log_data, {}, ValueError, "log-normalised"),
    "genes twice": (twice, {}, ValueError, "unique"),
    "all zero": (blank, {}, ValueError, "every count is zero"),
    "no such layer": (lambda a: None, {"layer": "raw"}, KeyError, "raw"),
    "negative limit": (lambda a: None, {"min_genes": -1}, ValueError, "min_genes"),
    "limits cross": (lambda a: None, {"min_genes": 9, "max_genes": 3}, ValueError, "at most `max_genes`"),
    "min_cells": (lambda a: None, {"min_cells": 0}, ValueError, "min_cells"),
    "max_targets": (lambda a: None, {"max_targets": 0}, ValueError, "max_targets"),
    "nothing left": (lambda a: None, {"min_genes": 59, "max_genes": 60}, ValueError, "every one would be dropped"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_leaves_adata_alone(adata, case):
    spoil, options, error, words = BAD[case]
    spoil(adata)
    before, keys = adata.obs.copy(), set(adata.uns)
    with pytest.raises(error, match=words):
        qc_perturbseq(adata, **options)
    pd.testing.assert_frame_equal(adata.obs, before)
    assert set(adata.uns) == keys


@pytest.mark.data
def test_a_real_screen_goes_from_guide_counts_to_clean_cells(shared_data):
    adata = ad.read_h5ad(shared_data / "data" / "schraivogel2020_tapseq_k562_guides.h5ad")
    n = adata.n_obs
    assign_guides(adata, r"^CROPseq_dCas9_DS_(non-targeting|[^_-]+)")
    perturbation_labels(adata, "guide_target")
    qc_perturbseq(adata)

    waterfall, conditions, guides = (adata.uns["qc"][name] for name in ("waterfall", "conditions", "guides"))
    assert abs(adata.n_obs / n - 0.87) < 0.015
    assert abs(waterfall.loc["multiplet", "n_dropped"] / n - 0.10) < 0.015
    assert abs(waterfall.loc["unlabelled", "n_dropped"] / n - 0.03) < 0.01
    assert waterfall.loc["few genes", "n_dropped"] < 0.01 * n

    promoters = ["CCNE2", "CPQ", "DSCC1", "FAM83A", "LRRCC1", "OXR1", "PHF20L1", "RIPK2", "STK3", "UBR5"]
    silenced = conditions.loc[promoters]
    assert abs(silenced["target_left"].mean() - 0.26) < 0.01
    assert set(silenced.index[silenced["status"] == "not measurable"]) == {"CCNE2", "PHF20L1", "LRRCC1"}
    assert conditions.loc["HS2", "status"] == "not measured"
    of_promoters = guides[guides["target"].isin(promoters) & (guides["status"] == "measured")]
    assert (of_promoters["target_left"] < 0.5).mean() > 0.8
    assert (of_promoters["target_left_se"] > 0).all()
    dead = guides.loc["CROPseq_dCas9_DS_UBR5_-_103424857.23-P1P2"]
    assert abs(dead["target_left"] - 1) < 2 * dead["target_left_se"]
