import re
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp

import scperturbmamba as spm

CHECKS = [
    "shared perturbations",
    "parts seen in combinations",
    "genes chosen with test cells",
    "features from test cells",
    "inputs derived from the label",
    "inputs derived from held-out cells",
    "duplicated cells",
    "shared control cells",
]
SHARED, PARTS, GENES, FEATURES, LABEL, CELLS, TWINS, CONTROLS = CHECKS


@pytest.fixture(scope="module")
def world():
    adata = spm.datasets.toy(
        n_genes=60, n_singles=24, n_doubles=8, n_outside=3, cells_per_condition=20, n_control=120, random_state=1
    )
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata)
    files = {"position": adata.uns["toy"]["outside"], "sets": adata.uns["toy"]["gene_sets"]}
    spm.tl.gene_features(adata, ["identity", "position", "sets"], files=files)
    adata.obsm["X_pca"] = sc.pp.pca(adata.X.toarray(), n_comps=8)
    return adata


@pytest.fixture
def adata(world):
    return world.copy()


def verdicts(adata, **options):
    table = spm.tl.audit_leakage(adata, **options)
    assert list(table.columns) == ["check", "verdict", "found", "advice"] and list(table["check"]) == CHECKS
    assert set(table["verdict"]) <= {"clean", "leak", "warning", "not checked"}
    assert (table["found"] != "").all()
    assert (table["advice"] != "")[table["verdict"].isin(["leak", "warning"])].all()
    return table.set_index("check")["verdict"]


def leaks(adata, **options):
    found = verdicts(adata, **options)
    return list(found.index[found == "leak"])


def found(adata, check, **options):
    return spm.tl.audit_leakage(adata, **options).set_index("check").loc[check, "found"]


def on_test(adata):
    chosen = (adata.obs["split"] == "test") & ~adata.obs["is_control"]
    return sorted(adata.obs.loc[chosen, "perturbation"].astype(str).unique())


def effects(adata):
    """Return the measured effect of every condition, a row each."""
    table = adata.to_df().groupby(adata.obs["perturbation"].astype(object).to_numpy()).mean()
    return table - table.loc["control"]


# ---------------------------------------------------------------- the two published leaks, rebuilt


def positions(adata):
    return pd.concat([adata.varm["gene_position"], adata.uns["gene_position"]["targets"]])


def positions_of_the_label(adata):
    """The input of mambaPerturb: the mean position of the genes in the cell's own label, zero for a control."""
    table = positions(adata)
    values = np.zeros((adata.n_obs, table.shape[1]))
    for cell, label in enumerate(adata.obs["perturbation"].astype(object)):
        if isinstance(label, str) and label != "control":
            values[cell] = table.loc[label.split("+")].mean()
    return values


def positions_of_what_is_expressed(adata):
    """What was meant: positions of the measured genes, weighted by the cell's expression of each."""
    x = adata.X.toarray() if sp.issparse(adata.X) else adata.X
    return x @ adata.varm["gene_position"].to_numpy() / x.sum(axis=1, keepdims=True)


def mean_embedding(adata):
    """The input of scModelForge: the mean embedding of a perturbation's own cells."""
    embedding = pd.DataFrame(sc.pp.pca(adata.X.toarray(), n_comps=8))
    return embedding.groupby(adata.obs["perturbation"].astype(object).to_numpy()).mean()


def mean_stored_embedding(adata):
    table = pd.DataFrame(adata.obsm["X_pca"])
    return table.groupby(adata.obs["perturbation"].astype(object).to_numpy()).mean()


def gene_features_of_conditions(adata):
    table = positions(adata)
    labels = [label for label in adata.obs["perturbation"].cat.categories if label != "control"]
    return pd.DataFrame([table.loc[label.split("+")].mean() for label in labels], index=labels)


def control_means(adata):
    """An honest input: the mean of training controls beside gene features."""
    chosen = (adata.obs["is_control"] & (adata.obs["split"] == "train")).to_numpy()
    table = gene_features_of_conditions(adata)
    table[[f"control_{number}" for number in range(8)]] = adata.obsm["X_pca"][chosen].mean(axis=0)
    return table


def test_a_position_that_was_made_from_the_label_is_caught(adata):
    adata.obsm["position"] = positions_of_the_label(adata)
    assert leaks(adata, inputs="position") == [LABEL]
    assert leaks(adata, inputs=["X_pca", "position"]) == [LABEL]
    assert leaks(adata, inputs=positions_of_the_label) == [LABEL]
    assert "permuted labels" in found(adata, LABEL, inputs=positions_of_the_label)


def test_noise_and_dropout_do_not_hide_it(adata):
    rng = np.random.default_rng(0)
    values = positions_of_the_label(adata)
    adata.obsm["noisy"] = values + 0.3 * values.std(axis=0) * rng.normal(size=values.shape)
    adata.obsm["dropped"] = values * (rng.random(values.shape) < 0.7)
    adata.obsm["beside"] = np.hstack([adata.obsm["X_pca"], values])
    for name in ("noisy", "dropped", "beside"):
        assert leaks(adata, inputs=name) == [LABEL], name


def test_a_trace_of_the_label_is_caught_where_the_function_is_given(adata):
    def traced(adata):
        codes = pd.factorize(adata.obs["perturbation"].astype(object))[0]
        return adata.obsm["X_pca"] + np.random.default_rng(3).normal(size=(codes.max() + 2, 8))[codes]

    adata.obsm["traced"] = traced(adata)
    assert LABEL not in leaks(adata, inputs="traced")
    assert LABEL in leaks(adata, inputs=traced)


def test_taking_away_the_mean_of_each_label_is_caught(adata):
    def centred(adata):
        table = pd.DataFrame(adata.obsm["X_pca"])
        labels = adata.obs["perturbation"].astype(object).to_numpy()  # missing in cells without a label: NaN
        return (table - table.groupby(labels).transform("mean")).to_numpy()

    assert LABEL in leaks(adata, inputs=centred)


def test_positions_of_measured_genes_are_no_leak(adata):
    adata.obsm["position"] = positions_of_what_is_expressed(adata)
    assert leaks(adata, inputs="position") == []
    assert verdicts(adata, inputs="position")[LABEL] == "clean"
    table = verdicts(adata, inputs=positions_of_what_is_expressed)
    assert table[[LABEL, CELLS]].tolist() == ["clean", "clean"]


@pytest.mark.parametrize("name", ["perturbation", "is_control", "perturbation_idx", "guide_counts", "condition"])
def test_labels_by_another_name_are_caught(adata, name):
    assert leaks(adata, inputs=name) == [LABEL]


def test_what_does_not_vary_says_nothing(adata):
    adata.obsm["flat"] = np.ones((adata.n_obs, 2))
    assert verdicts(adata, inputs=["flat", "dose"])[LABEL] == "not checked"


@pytest.mark.parametrize("name", ["batch", "cell_line", "X_pca"])
def test_what_the_label_does_not_decide_is_clean(adata, name):
    assert verdicts(adata, inputs=name)[LABEL] == "clean"


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("as_function", [True, False])
def test_the_mean_embedding_of_own_cells_is_caught(adata, stored, as_function):
    make = mean_stored_embedding if stored else mean_embedding
    if not stored:
        del adata.obsm["X_pca"]
    assert leaks(adata, inputs=make if as_function else make(adata)) == [CELLS]


def test_maps_of_the_mean_of_own_cells_are_caught(adata):
    rng = np.random.default_rng(0)
    mixed = mean_stored_embedding(adata) @ rng.normal(size=(8, 8)) + 3
    scaled = effects(adata) * rng.uniform(1, 2, adata.n_vars) + rng.normal(size=adata.n_vars)
    for table in (effects(adata), mixed, scaled):
        assert leaks(adata, inputs=table) == [CELLS]
    held = on_test(adata)
    copied = pd.DataFrame(rng.normal(size=scaled.shape), index=scaled.index, columns=scaled.columns)
    copied.loc[held[:2]] = effects(adata).loc[held[:2]]
    assert f"2 of {len(held)} held-out rows equal" in found(adata, CELLS, inputs=copied)


@pytest.mark.data
@pytest.mark.parametrize("name", ["norman2019_k562_crispra", "papalexi2021_thp1_crisprko"])
def test_the_best_honest_input_there_is_other_cells_of_the_same_conditions_is_no_leak(shared_data, name):
    screen = ad.read_h5ad(shared_data / "data" / f"{name}.h5ad")
    spm.pp.perturbation_labels(screen)
    spm.pp.normalize(screen)
    half = np.random.default_rng(0).random(screen.n_obs) < 0.5
    other, own = screen[half].copy(), screen[~half].copy()
    spm.pp.split_conditions(own)
    for adata, verdicts_allowed in ((other, {"clean", "warning"}), (own, {"leak"})):
        for table in (effects(adata), mean_embedding(adata)):
            assert verdicts(own, inputs=table)[CELLS] in verdicts_allowed


@pytest.mark.parametrize("make", [gene_features_of_conditions, control_means])
def test_gene_features_and_controls_are_no_leak(adata, make):
    for inputs in (make, make(adata)):
        table = verdicts(adata, inputs=inputs)
        assert table[[LABEL, CELLS]].tolist() == ["not checked", "clean"]


def test_features_that_predict_well_are_no_leak(adata):
    truth = adata.uns["toy"]["effects"]
    shared = (truth @ np.linalg.svd(truth.to_numpy())[2][:5].T).add_prefix("truth_")
    assert verdicts(adata, inputs=shared)[CELLS] == "clean"


def test_a_function_of_other_data_may_be_fitted_on_held_out_cells(adata):
    def embedding(adata):
        return sc.pp.pca(adata.X.toarray(), n_comps=5)

    def fitted_on_training(adata):
        x = adata.X.toarray()
        training = x[(adata.obs["split"] == "train").to_numpy()]
        return (x - training.mean(axis=0)) @ np.linalg.svd(training - training.mean(axis=0))[2][:5].T

    assert verdicts(adata, inputs=embedding)[CELLS] == "warning"
    assert verdicts(adata, inputs=fitted_on_training)[CELLS] == "clean"


def test_a_function_that_gives_other_numbers_each_time_cannot_be_judged(adata):
    rng = np.random.default_rng(0)
    assert verdicts(adata, inputs=lambda adata: rng.normal(size=(adata.n_obs, 3)))[CELLS] == "not checked"


# ---------------------------------------------------------------- each leak alone


def plant_shared(adata):
    single = next(one for one in on_test(adata) if "+" not in one)
    cells = np.flatnonzero(adata.obs["perturbation"] == single)
    adata.obs.iloc[cells[::2], adata.obs.columns.get_loc("split")] = "train"


def plant_part(adata):
    held = on_test(adata)
    double = next(one for one in held if "+" in one and set(one.split("+")) & set(held))
    adata.obs.loc[adata.obs["perturbation"] == double, "split"] = "train"


def plant_genes(adata):
    sc.pp.highly_variable_genes(adata, n_top_genes=15)


def plant_features(adata):
    table = effects(adata).drop(index="control")
    table = table[~table.index.str.contains("+", regex=False)]
    spm.tl.gene_features(adata, ["mine"], files={"mine": table})


def plant_label(adata):
    adata.obsm["position"] = positions_of_the_label(adata)
    return {"inputs": "position"}


def plant_cells(adata):
    return {"inputs": mean_embedding(adata)}


def plant_twins(adata):
    seen, test = (np.flatnonzero((adata.obs["split"] == side) & ~adata.obs["is_control"]) for side in ("train", "test"))
    source = np.arange(adata.n_obs)
    source[test[:3]] = seen[:3]
    adata.X, adata.layers["counts"] = adata.X[source], adata.layers["counts"][source]


def plant_controls(adata):
    adata.obs.loc[adata.obs["is_control"], "split"] = "train"


PLANTS = dict(
    zip(
        CHECKS,
        [
            plant_shared,
            plant_part,
            plant_genes,
            plant_features,
            plant_label,
            plant_cells,
            plant_twins,
            plant_controls,
        ],
    )
)


def test_a_clean_split_has_no_leak(adata):
    spm.pp.select_genes(adata, n_top_genes=15)
    assert verdicts(adata).isin(["clean", "warning", "not checked"]).all()
    assert leaks(adata, inputs="X_pca") == []
    assert leaks(adata, context="cell_line") == []


@pytest.mark.parametrize("check", CHECKS)
def test_a_leak_is_caught_by_its_own_check_and_by_no_other(adata, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = PLANTS[check](adata) or {}
    assert leaks(adata, **options) == [check]


@pytest.mark.parametrize("check", CHECKS)
def test_a_dense_matrix_gives_the_same_verdicts(adata, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = PLANTS[check](adata) or {}
    sparse = verdicts(adata, **options)
    adata.X, adata.layers["counts"] = adata.X.toarray(), adata.layers["counts"].tocsc()
    pd.testing.assert_series_equal(verdicts(adata, **options), sparse)


# ---------------------------------------------------------------- conditions and parts


@pytest.mark.parametrize("scheme", ["perturbation", "condition", "kfold", "simulation", "doubles"])
def test_splits_by_condition_have_no_leak(adata, scheme):
    spm.pp.split_conditions(adata, scheme)
    assert leaks(adata) == []


def test_cells_divided_at_random_are_called_easy(adata):
    spm.pp.split_conditions(adata, "cell")
    assert leaks(adata) == [SHARED]
    assert "easy" in found(adata, SHARED)


def test_a_held_out_context_is_judged_by_context(adata):
    spm.pp.split_conditions(adata, "context", context="cell_line", held_out="line_B")
    assert leaks(adata) == []
    del adata.uns["split"]
    assert SHARED in leaks(adata)
    assert leaks(adata, context="cell_line") == []


def test_a_held_out_pair_is_judged_in_its_context(adata):
    spm.pp.split_conditions(adata, "pair", context="cell_line")
    assert leaks(adata) == []
    adata.uns["split"]["params"]["scheme"] = "column mine"
    assert SHARED in leaks(adata)


def test_a_held_out_dose_of_a_seen_drug_is_a_task_and_not_a_leak():
    adata = spm.datasets.toy_drugs(n_genes=40, n_drugs=8, cells_per_condition=12, n_control=90)
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    spm.pp.normalize(adata)
    spm.pp.match_controls(adata, "plate")
    spm.pp.split_conditions(adata, "dose")
    assert leaks(adata) == []
    assert verdicts(adata)[PARTS] == "warning"
    assert "8 at another dose" in found(adata, PARTS)


def test_a_single_in_a_training_combination_is_a_leak_unless_the_split_says_so(adata):
    plant_part(adata)
    adata.uns["split"]["params"]["scheme"] = "condition"
    assert verdicts(adata)[PARTS] == "warning"
    for scheme in ("perturbation", "simulation", "column mine"):
        adata.uns["split"]["params"]["scheme"] = scheme
        assert verdicts(adata)[PARTS] == "leak"
    del adata.uns["split"]
    assert verdicts(adata)[PARTS] == "leak"


def test_a_combination_of_seen_parts_is_a_task_and_not_a_leak(adata):
    spm.pp.split_conditions(adata, "doubles")
    del adata.uns["split"]
    assert verdicts(adata)[PARTS] == "warning"
    assert "combinations with a part in training" in found(adata, PARTS)


def test_another_dose_of_a_drug_is_a_warning(adata):
    labels = adata.obs["perturbation"].astype(object)
    held, seen = on_test(adata)[0], adata.obs.query("split == 'train' and n_parts == 1")["perturbation"].iloc[0]
    adata.obs["perturbation"] = labels.replace({held: "dasatinib@10", seen: "dasatinib@1"}).astype("category")
    del adata.uns["split"]
    assert verdicts(adata)[PARTS] == "warning"
    assert "dasatinib@10: dasatinib@1" in found(adata, PARTS)


def test_each_context_needs_controls_on_both_sides(adata):
    in_b = adata.obs["is_control"] & (adata.obs["cell_line"] == "line_B")
    adata.obs.loc[in_b, "split"] = "train"
    assert leaks(adata) == []
    assert leaks(adata, context="cell_line") == [CONTROLS]
    assert "line_B" in found(adata, CONTROLS, context="cell_line")


# ---------------------------------------------------------------- genes


def test_genes_chosen_on_training_cells_by_another_tool_are_clean(adata):
    training = adata[adata.obs["split"] == "train"].copy()
    sc.pp.highly_variable_genes(training, n_top_genes=15)
    adata.var["highly_variable"] = training.var["highly_variable"]
    assert verdicts(adata)[GENES] == "clean"


def test_genes_chosen_nobody_knows_how_are_a_warning(adata):
    adata.var["highly_variable"] = np.arange(adata.n_vars) < 10
    assert verdicts(adata)[GENES] == "warning"
    adata.var["highly_variable"] = True
    assert verdicts(adata)[GENES] == "warning"
    spm.pp.select_genes(adata, n_top_genes=15)
    adata.var["selected"] = np.arange(adata.n_vars) < 10
    assert verdicts(adata)[GENES] == "warning"


def test_genes_chosen_for_another_split_are_a_warning(adata):
    spm.pp.split_conditions(adata, random_state=5, key_added="other")
    spm.pp.select_genes(adata, n_top_genes=15, key="other")
    assert verdicts(adata, key="other")[GENES] == "clean"
    assert verdicts(adata)[GENES] == "warning"


@pytest.mark.filterwarnings("ignore")
def test_lists_of_genes_changed_by_held_out_conditions_are_a_warning(adata):
    held = on_test(adata)[0]
    seen = str(adata.obs.query("split == 'train' and n_parts == 1")["perturbation"].iloc[0])
    known = adata[adata.obs["perturbation"].notna()].copy()
    sc.tl.rank_genes_groups(known, "perturbation", groups=[held], reference="control")
    adata.uns["rank_genes_groups"] = known.uns["rank_genes_groups"]
    assert verdicts(adata)[GENES] == "warning" and held in found(adata, GENES)
    del adata.uns["rank_genes_groups"]
    adata.uns["rank_genes_groups_cov_all"] = {f"K562_{seen}+ctrl_1+1": list(adata.var_names[:5])}
    assert verdicts(adata)[GENES] == "clean"
    adata.uns["rank_genes_groups_cov_all"][f"K562_{held}+ctrl_1+1"] = list(adata.var_names[:5])
    assert verdicts(adata)[GENES] == "warning"


def test_pathways_of_controls_of_the_test_side_are_a_warning(adata):
    spm.tl.gene_features(adata, ["pathway"], width={"pathway": 4})
    assert verdicts(adata)[FEATURES] == "clean"
    split = adata.obs.pop("split")
    spm.tl.gene_features(adata, ["pathway"], width={"pathway": 4})
    adata.obs["split"] = split
    assert verdicts(adata)[FEATURES] == "warning"


def test_components_of_all_cells_as_gene_features_are_a_leak(adata):
    for cells, verdict in ((adata.obs["n_parts"] > -2, "leak"), (adata.obs["split"] == "train", "clean")):
        part = adata[cells.to_numpy()].copy()
        sc.pp.pca(part, n_comps=5)
        adata.varm["gene_loadings"] = part.varm["PCs"]
        assert verdicts(adata)[FEATURES] == verdict


def test_an_honest_table_of_the_users_is_clean(adata):
    rng = np.random.default_rng(0)
    essential = pd.DataFrame(
        {"score": rng.normal(size=adata.n_vars), "depth": rng.random(adata.n_vars)}, adata.var_names
    )
    spm.tl.gene_features(adata, ["essential"], files={"essential": essential})
    assert verdicts(adata)[FEATURES] == "clean"
    adata.varm["gene_by_hand"] = rng.normal(size=adata.shape[1:] * 2)
    assert verdicts(adata)[FEATURES] == "clean"


@pytest.mark.parametrize(("side", "verdict"), [("test", "leak"), ("none", "clean")])
def test_an_embedding_of_drugs_made_of_their_own_cells_is_a_leak(side, verdict):
    drugs = spm.datasets.toy_drugs(n_drugs=30, n_genes=40, doses=(10.0,), cells_per_condition=30)
    spm.pp.perturbation_labels(drugs, "drug", dose="dose", dose_unit="dose_unit")
    spm.pp.normalize(drugs)
    spm.pp.split_conditions(drugs)
    profiles = spm.pp.pseudobulk(drugs)
    profiles = profiles[profiles.obs["perturbation"] != "control"]
    made = np.asarray(profiles.X) if side == "test" else np.random.default_rng(0).normal(size=profiles.shape)
    table = pd.DataFrame(made, [label.split("@")[0] for label in profiles.obs_names], list(drugs.var_names))
    spm.tl.drug_features(drugs, ["fingerprint", "embedding"], files={"embedding": table})
    found = spm.tl.audit_leakage(drugs).set_index("check").loc[FEATURES]
    assert found["verdict"] == verdict
    assert "embedding" in found["found"] and "fingerprint: made of structures" in found["found"]


def test_without_features_there_is_nothing_to_check(adata):
    for name in list(adata.varm):
        del adata.varm[name]
    assert verdicts(adata)[FEATURES] == "not checked"


# ---------------------------------------------------------------- cells


def test_cells_with_hardly_any_counts_may_be_equal(adata):
    cells = [int(np.flatnonzero(adata.obs["split"] == side)[0]) for side in ("train", "test")]
    counts = adata.layers["counts"].toarray()
    counts[cells] = 0
    counts[cells, counts.sum(axis=0).argmax()] = 1
    adata.layers["counts"] = sp.csr_matrix(counts)
    assert verdicts(adata)[TWINS] == "clean"


def test_twins_are_named_and_found_without_counts(adata):
    plant_twins(adata)
    text = found(adata, TWINS)
    test = adata.obs_names[(adata.obs["split"] == "test") & ~adata.obs["is_control"]][0]
    assert text.startswith("3 of") and test in text and "layers.counts" in text
    del adata.layers["counts"]
    assert leaks(adata) == [TWINS] and " in X " in found(adata, TWINS)


# ---------------------------------------------------------------- manners


def test_nothing_is_changed_even_by_a_function_that_writes(adata, everything_in):
    def rude(adata):
        sc.pp.pca(adata, n_comps=3)
        adata.obs["split"] = "train"
        adata.X = adata.X * 0
        return adata.obsm["X_pca"]

    before = everything_in(adata)
    spm.tl.audit_leakage(adata, inputs=rude)
    spm.tl.audit_leakage(adata[:, :30], inputs="guide_counts")
    assert everything_in(adata) == before


def test_the_same_seed_gives_the_same_table(adata):
    for inputs in (positions_of_what_is_expressed, mean_embedding):
        one, other = (spm.tl.audit_leakage(adata, inputs=inputs, random_state=3) for _ in range(2))
        pd.testing.assert_frame_equal(one, other)


def test_a_screen_read_from_a_file_gives_the_same_table(adata, tmp_path):
    plant_features(adata)
    spm.pp.select_genes(adata, n_top_genes=15)
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(spm.tl.audit_leakage(back), spm.tl.audit_leakage(adata))


def test_a_raw_slot_does_not_disturb_the_interventions(adata):
    adata.raw = adata.copy()
    assert leaks(adata, inputs=mean_embedding) == [CELLS]

    def totals(adata):
        table = pd.DataFrame({"raw": np.asarray(adata.raw.X.sum(axis=1)).ravel()})
        return table.groupby(adata.obs["perturbation"].astype(object).to_numpy()).mean()

    assert leaks(adata, inputs=totals) == [CELLS]


def test_an_array_of_the_wrong_kind_is_refused(adata):
    with pytest.raises(TypeError, match="found ndarray"):
        spm.tl.audit_leakage(adata, inputs=np.zeros((3, 2)))
    with pytest.raises(KeyError, match="X_pca"):
        spm.tl.audit_leakage(adata, inputs="X_pcs")
    with pytest.raises(ValueError, match="row per cell"):
        spm.tl.audit_leakage(adata, inputs=lambda adata: np.zeros((3, 2)))
    with pytest.raises(ValueError, match="one row for each condition"):
        spm.tl.audit_leakage(adata, inputs=pd.DataFrame({"a": [1.0]}, index=["nobody"]))
    with pytest.raises(ValueError, match="NaN"):
        spm.tl.audit_leakage(adata, inputs=mean_embedding(adata) * np.nan)


def test_a_screen_without_a_split_is_refused(adata):
    with pytest.raises(KeyError, match="split_conditions"):
        spm.tl.audit_leakage(adata, key="fold")
    with pytest.raises(KeyError, match="context"):
        spm.tl.audit_leakage(adata, context="tissue")
    adata.obs["fold"] = adata.obs["split"].astype(object).replace({"test": "ood"})
    with pytest.raises(ValueError, match="ood"):
        spm.tl.audit_leakage(adata, key="fold")
    adata.obs["fold"] = "train"
    with pytest.raises(ValueError, match="train and test"):
        spm.tl.audit_leakage(adata, key="fold")
    del adata.obs["perturbation"]
    with pytest.raises(KeyError, match="perturbation_labels"):
        spm.tl.audit_leakage(adata)


def test_a_matrix_with_holes_is_refused(adata):
    x = adata.X.toarray()
    x[0, 0] = np.nan
    adata.X = x
    with pytest.raises(ValueError, match="finite"):
        spm.tl.audit_leakage(adata)


def test_the_page_shows_what_its_code_gives():
    docs = Path(__file__).parents[2] / "docs"
    blocks = re.findall(r"^```python\n(.*?)^```", (docs / "leakage.md").read_text(), re.MULTILINE | re.DOTALL)
    made = {}
    exec("\n".join(blocks), made)
    for name, table in {"leakage": made["table"], "leakage_cells": made["ridge"].query("verdict == 'leak'")}.items():
        rows = [row.split(" | ") for row in (docs / "_results" / f"{name}.md").read_text().splitlines()[2:]]
        shown = [[row[0].removeprefix("| "), row[1]] for row in rows]
        assert shown == table[["check", "verdict"]].to_numpy().tolist(), "run docs/refresh.py"
