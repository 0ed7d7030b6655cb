import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData, read_h5ad

import scperturbmamba as spm


@pytest.fixture(scope="module")
def screen():
    adata = spm.datasets.toy(n_genes=40, n_singles=10, n_doubles=2, cells_per_condition=14, n_control=60)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    return adata


@pytest.fixture
def adata(screen):
    return screen.copy()


def as_dense(adata):
    adata.X = adata.X.toarray()
    return adata


@pytest.mark.parametrize("prepare", [lambda a: a, as_dense], ids=["sparse", "dense"])
def test_rows_are_means_and_effects_of_conditions(adata, prepare):
    bulk = spm.pp.pseudobulk(prepare(adata))
    cells = adata.to_df().groupby(adata.obs["perturbation"], observed=True)
    mean, sem = cells.mean().loc[bulk.obs_names], cells.sem().loc[bulk.obs_names]
    np.testing.assert_allclose(bulk.X, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bulk.layers["delta"], mean - mean.loc["control"], atol=1e-5)
    noise = np.square(sem) + np.square(sem.loc["control"])
    noise.loc["control"] = np.square(sem.loc["control"])
    np.testing.assert_allclose(bulk.layers["se"], np.sqrt(noise), rtol=1e-3, atol=1e-5)
    assert bulk.obs["n_cells"].tolist() == cells.size().loc[bulk.obs_names].tolist()
    assert bulk.obs_names[0] == "control"
    assert bulk.obs["is_control"].tolist() == [True] + [False] * (bulk.n_obs - 1)
    assert list(bulk.var_names) == list(adata.var_names)


def test_each_context_is_compared_with_its_own_controls(adata):
    bulk = spm.pp.pseudobulk(adata, context="cell_line")
    mean = adata.to_df().groupby([adata.obs["perturbation"], adata.obs["cell_line"]], observed=True).mean()
    for number, (label, line) in enumerate(zip(bulk.obs["perturbation"], bulk.obs["cell_line"])):
        np.testing.assert_allclose(
            bulk.layers["delta"][number], mean.loc[(label, line)] - mean.loc[("control", line)], atol=1e-5
        )
        assert bulk.obs_names[number] == f"{label} | {line}"
    assert bulk.n_obs == len(mean)


@pytest.mark.parametrize("storage", ["sparse", "dense"])
def test_after_matching_each_cell_is_compared_with_the_controls_of_its_batch(adata, storage):
    if storage == "dense":
        as_dense(adata)
    spm.pp.match_controls(adata, "batch")
    bulk = spm.pp.pseudobulk(adata, context="cell_line")
    cells, obs = adata.to_df(), adata.obs
    control = cells[obs["is_control"]].groupby([obs["cell_line"], obs["batch"]], observed=True).mean()
    keys = pd.MultiIndex.from_frame(obs[["cell_line", "batch"]].astype(str))
    differences = cells - control.loc[keys].to_numpy()
    mean = differences.groupby([obs["perturbation"], obs["cell_line"]], observed=True).mean()
    for number, key in enumerate(zip(bulk.obs["perturbation"], bulk.obs["cell_line"])):
        np.testing.assert_allclose(bulk.layers["delta"][number], mean.loc[key], atol=1e-5)


@pytest.mark.parametrize("seed", range(2))
def test_against_the_controls_of_their_own_plate_effects_are_nearer_to_the_truth(seed):
    adata = spm.datasets.toy_drugs(n_genes=60, n_drugs=12, cells_per_condition=40, random_state=seed)
    adata = adata[adata.obs["cell_line"] == "line_A"].copy()
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    spm.pp.normalize(adata)
    truth, agreement = adata.uns["toy"]["effects"], []
    for match in (False, True):
        if match:
            spm.pp.match_controls(adata, "plate")
        delta = spm.pp.pseudobulk(adata).to_df(layer="delta")
        strong = [label for label in delta.index if label.endswith("@10")]
        agreement.append(np.mean([np.corrcoef(delta.loc[one], truth.loc[one])[0, 1] for one in strong]))
    assert agreement[1] > agreement[0] + 0.05


def test_a_batch_without_controls_is_told(adata):
    spm.pp.match_controls(adata, "batch")
    part = adata[~(adata.obs["is_control"] & (adata.obs["batch"] == "batch1")).to_numpy()].copy()
    with pytest.warns(UserWarning, match="rows of the profiles have cells without control cells of their own group"):
        spm.pp.pseudobulk(part)


def test_counts_are_summed_where_there_are_counts(adata):
    bulk = spm.pp.pseudobulk(adata)
    counts = pd.DataFrame(adata.layers["counts"].toarray()).groupby(adata.obs["perturbation"].to_numpy()).sum()
    np.testing.assert_array_equal(bulk.layers["counts"], counts.loc[bulk.obs_names])
    del adata.layers["counts"]
    assert "counts" not in spm.pp.pseudobulk(adata).layers


def test_a_lone_cell_has_an_effect_but_no_error(adata):
    treated = adata.obs_names[adata.obs["perturbation"] == adata.obs["perturbation"].cat.categories[1]]
    bulk = spm.pp.pseudobulk(adata[~adata.obs_names.isin(treated[1:])].copy())
    assert bulk.obs["n_cells"].iloc[1] == 1
    assert np.isfinite(bulk.layers["delta"][1]).all()
    assert np.isnan(bulk.layers["se"][1]).all()


def test_profiles_survive_a_file(adata, tmp_path):
    bulk = spm.pp.pseudobulk(adata, context="cell_line")
    bulk.write_h5ad(tmp_path / "bulk.h5ad")
    back = read_h5ad(tmp_path / "bulk.h5ad")
    np.testing.assert_array_equal(back.layers["delta"], bulk.layers["delta"])
    pd.testing.assert_frame_equal(back.obs, bulk.obs, check_categorical=False)


def test_nothing_is_written_into_the_screen(adata):
    before = adata.copy()
    spm.pp.pseudobulk(adata, context="cell_line")
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    assert (list(adata.layers), list(adata.uns)) == (list(before.layers), list(before.uns))


def test_a_view_gives_the_profiles_of_its_copy(adata):
    view = adata[::2]
    np.testing.assert_array_equal(spm.pp.pseudobulk(view).X, spm.pp.pseudobulk(view.copy()).X)
    assert view.is_view


def test_an_empty_cell_counts_as_a_cell():
    adata = AnnData(sp.csr_matrix(np.array([[0.0, 0.0], [1.5, 0.5], [0.0, 1.5]])))
    adata.obs["perturbation"] = ["A", "A", "control"]
    bulk = spm.pp.pseudobulk(adata)
    np.testing.assert_allclose(bulk.X, [[0, 1.5], [0.75, 0.25]])


@pytest.mark.parametrize(
    ("spoil", "options", "error", "said"),
    [
        (lambda a: a.obs.__delitem__("perturbation"), {}, KeyError, "spm.pp.perturbation_labels"),
        (lambda a: None, {"context": "cell_lines"}, KeyError, "Did you mean 'cell_line'"),
        (lambda a: a._inplace_subset_obs(~a.obs["is_control"].to_numpy()), {}, ValueError, "expected control cells"),
        (
            lambda a: a._inplace_subset_obs(~(a.obs["is_control"] & (a.obs["cell_line"] == "line_B")).to_numpy()),
            {"context": "cell_line"},
            ValueError,
            "none in .'line_B'",
        ),
        (lambda a: a.__setattr__("X", a.layers["counts"]), {}, ValueError, "raw counts.*spm.pp.normalize"),
        (lambda a: a.X.data.__setitem__(3, np.nan), {}, ValueError, "`adata.X` must be finite"),
    ],
)
def test_a_screen_that_is_not_ready_is_refused_with_the_remedy(adata, spoil, options, error, said):
    spoil(adata)
    with pytest.raises(error, match=said):
        spm.pp.pseudobulk(adata, **options)


def test_a_backed_screen_is_refused_with_the_remedy(adata, tmp_path):
    adata.write_h5ad(tmp_path / "screen.h5ad")
    backed = read_h5ad(tmp_path / "screen.h5ad", backed="r")
    with pytest.raises(ValueError, match="to_memory"):
        spm.pp.pseudobulk(backed)
    backed.file.close()


@pytest.mark.data
def test_known_biology_shows_in_norman_and_papalexi(shared_data):
    norman = read_h5ad(shared_data / "data" / "norman2019_k562_crispra.h5ad")
    spm.pp.perturbation_labels(norman)
    spm.pp.normalize(norman, library_size="ncounts")
    delta = spm.pp.pseudobulk(norman).to_df(layer="delta")
    assert delta.loc["KLF1", "HBZ"] == pytest.approx(1.6, abs=0.15)
    assert delta.loc["KLF1", "HBG2"] == pytest.approx(1.2, abs=0.15)
    papalexi = read_h5ad(shared_data / "data" / "papalexi2021_thp1_crisprko.h5ad")
    spm.pp.perturbation_labels(papalexi)
    spm.pp.normalize(papalexi)
    mean = spm.pp.pseudobulk(papalexi).to_df()
    assert mean.loc["STAT1", "STAT1"] < 0.5 * mean.loc["control", "STAT1"]
