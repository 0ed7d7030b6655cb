import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.cluster.hierarchy
import scipy.spatial.distance
import scipy.stats
from anndata import AnnData

import scperturbmamba as spm

METRICS = ["pearson", "spearman", "cosine"]
ORACLES = {
    "pearson": lambda a, b: scipy.stats.pearsonr(a, b).statistic,
    "spearman": lambda a, b: scipy.stats.spearmanr(a, b).statistic,
    "cosine": lambda a, b: 1 - scipy.spatial.distance.cosine(a, b),
}


def profiles(delta, labels=None):
    labels = labels or ["control", *(f"P{number}" for number in range(1, len(delta)))]
    obs = pd.DataFrame({"perturbation": pd.Categorical(labels)}, index=labels)
    return AnnData(np.zeros_like(delta, np.float32), obs=obs, layers={"delta": np.asarray(delta, np.float32)})


@pytest.fixture
def bulk():
    rng = np.random.default_rng(0)
    shared, programmes = rng.normal(size=50), rng.normal(size=(3, 50))
    delta = np.vstack([np.zeros(50), shared + rng.normal(size=(9, 3)) @ programmes + 0.3 * rng.normal(size=(9, 50))])
    return profiles(delta)


@pytest.fixture(scope="module")
def toy():
    adata = spm.datasets.toy(n_genes=150, n_singles=50, n_doubles=0, n_outside=0, cells_per_condition=40)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    adata = adata[adata.obs["perturbation"] != "multiplet"].copy()
    return adata.uns["toy"], spm.pp.pseudobulk(adata)


def similarity_of(adata, **options):
    adata = adata.copy()
    spm.tl.similar_perturbations(adata, **options)
    return adata.to_df().index, adata.obsp["similarity"]


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("metric", METRICS)
def test_the_numbers_are_scipy_s(bulk, metric, centred):
    _, alike = similarity_of(bulk, metric=metric, centred=centred)
    effects = bulk.layers["delta"][1:].astype(float)
    effects -= effects.mean(0) * centred
    expected = [[ORACLES[metric](a, b) for b in effects] for a in effects]
    np.testing.assert_allclose(alike[1:, 1:], expected, atol=1e-6)
    assert alike.dtype == np.float32


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("metric", METRICS)
def test_a_pair_is_compared_over_the_genes_that_both_have(bulk, metric, centred):
    delta = bulk.layers["delta"]
    delta[2, :10] = np.nan
    delta[3, 5:20] = np.nan
    delta[4, :10] = np.nan
    _, alike = similarity_of(bulk, metric=metric, centred=centred)
    effects = delta[1:].astype(float)
    effects -= np.nanmean(effects, axis=0) * centred
    for i in range(9):
        for j in range(9):
            both = ~np.isnan(effects[i] + effects[j])
            assert alike[i + 1, j + 1] == pytest.approx(ORACLES[metric](effects[i, both], effects[j, both]), abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_condition_is_most_like_itself_and_likeness_is_mutual(bulk, metric):
    _, alike = similarity_of(bulk, metric=metric)
    treated = alike[1:, 1:]
    assert (treated.argmax(1) == np.arange(9)).all() and (treated.diagonal() == 1).all()
    np.testing.assert_array_equal(treated, treated.T)
    assert np.abs(treated).max() == 1


@pytest.mark.parametrize("metric", METRICS)
def test_permuted_rows_give_the_permuted_result(bulk, metric):
    shuffled = bulk[np.random.default_rng(1).permutation(bulk.n_obs)].copy()
    spm.tl.similar_perturbations(bulk, metric=metric)
    spm.tl.similar_perturbations(shuffled, metric=metric)
    back = shuffled.obs_names.get_indexer(bulk.obs_names)
    np.testing.assert_allclose(shuffled.obsp["similarity"][np.ix_(back, back)], bulk.obsp["similarity"], atol=1e-6)
    heights = [np.sort(one.uns["similarity"]["linkage"][:, 2]) for one in (bulk, shuffled)]
    np.testing.assert_allclose(*heights, atol=1e-6)


def test_what_all_perturbations_share_is_taken_away_unless_asked_otherwise(bulk):
    shifted = bulk.copy()
    shifted.layers["delta"][1:] += 20 * np.random.default_rng(2).normal(size=50).astype(np.float32)
    _, plain = similarity_of(bulk)
    _, centred = similarity_of(shifted)
    _, raw = similarity_of(shifted, centred=False)
    np.testing.assert_allclose(centred[1:, 1:], plain[1:, 1:], atol=1e-4)
    assert raw[1:, 1:].min() > 0.9


def test_the_genes_that_vary_most_are_compared_where_so_many_are_asked_for(bulk):
    bulk.layers["delta"][1:, :] += 5  # a large effect that all share is not a varied one
    bulk.layers["delta"][1:, 7] *= 100
    effects = bulk.layers["delta"][1:].astype(float)
    genes = np.argsort(-effects.var(0))[:12]
    assert 7 in genes
    _, alike = similarity_of(bulk, n_genes=12)
    centred = effects - effects.mean(0)
    np.testing.assert_allclose(alike[1:, 1:], np.corrcoef(centred[:, genes]), atol=1e-5)
    np.testing.assert_array_equal(similarity_of(bulk, n_genes=10**6)[1], similarity_of(bulk)[1])


# ---------------------------------------------------------------- meaning


def test_measured_perturbations_of_one_pathway_are_more_alike_than_of_two(toy):
    truth, bulk = toy
    names, alike = similarity_of(bulk, n_genes=100)
    member = pd.DataFrame({name: names.isin(genes) for name, genes in truth["gene_sets"].items()}, index=names)
    member = member.to_numpy(dtype=int)
    pair = np.triu(np.ones(alike.shape, bool), 1) & ~np.isnan(alike)
    together = member @ member.T > 0
    assert together[pair].sum() > 30
    assert alike[pair & together].mean() > alike[pair & ~together].mean() + 0.2


def test_measured_similarity_follows_the_true_one(toy):
    truth, bulk = toy
    effects = truth["effects"].loc[bulk.obs_names[1:]]
    true = profiles(np.vstack([np.zeros(effects.shape[1]), effects]), ["control", *effects.index])
    _, expected = similarity_of(true)
    _, found = similarity_of(bulk)
    pair = np.triu(np.ones(found.shape, bool), 1) & ~np.isnan(found)
    assert scipy.stats.spearmanr(found[pair], expected[pair]).statistic > 0.6


def test_two_groups_of_effects_part_at_the_root_and_lie_side_by_side():
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=(2, 40))
    rows = [(one, other)[number % 2] + 0.2 * rng.normal(size=40) for number in range(8)]
    adata = profiles(np.vstack([np.zeros(40), *rows]))
    spm.tl.similar_perturbations(adata)
    found = adata.uns["similarity"]
    first = {int(name[1:]) % 2 for name in found["order"][:4]}
    assert len(first) == 1 and sorted(found["order"]) == sorted(adata.obs_names[1:])
    groups = scipy.cluster.hierarchy.fcluster(found["linkage"], 2, "maxclust")
    assert groups.tolist() in ([1, 2] * 4, [2, 1] * 4)


def test_the_tree_is_scipy_s_average_linkage(bulk):
    spm.tl.similar_perturbations(bulk)
    apart = 1 - bulk.obsp["similarity"][1:, 1:].astype(float)
    expected = scipy.cluster.hierarchy.linkage(scipy.spatial.distance.squareform(apart, checks=False), "average")
    np.testing.assert_allclose(bulk.uns["similarity"]["linkage"][:, 2:], expected[:, 2:], atol=1e-6)
    leaves = scipy.cluster.hierarchy.leaves_list(bulk.uns["similarity"]["linkage"])
    assert bulk.uns["similarity"]["order"] == list(bulk.obs_names[1:][leaves])


# ---------------------------------------------------------------- slots


def test_the_control_has_no_similarity(bulk):
    last = bulk[[*range(1, bulk.n_obs), 0]].copy()
    spm.tl.similar_perturbations(last)
    alike = last.obsp["similarity"]
    assert np.isnan(alike[-1]).all() and np.isnan(alike[:, -1]).all() and not np.isnan(alike[:-1, :-1]).any()
    assert "control" not in last.uns["similarity"]["order"]


def test_a_row_without_an_effect_is_like_nothing_and_still_has_a_leaf(bulk):
    bulk.layers["delta"][3] = np.nan
    bulk.layers["delta"][4, 1:] = np.nan  # one gene is too few
    spm.tl.similar_perturbations(bulk)
    alike = bulk.obsp["similarity"]
    assert np.isnan(alike[[0, 3, 4]]).all() and np.isnan(alike).sum() == 100 - 49
    assert len(bulk.uns["similarity"]["order"]) == 9 and np.isfinite(bulk.uns["similarity"]["linkage"]).all()


def test_predictions_that_are_all_the_same_are_not_compared_by_their_rounding():
    row = np.random.default_rng(4).normal(size=300).astype(np.float32)
    noise = 1 + 6e-8 * np.random.default_rng(5).normal(size=(6, 300))
    adata = profiles(np.vstack([0 * row, *(row * noise)]))
    spm.tl.similar_perturbations(adata)
    assert np.isnan(adata.obsp["similarity"]).all()
    spm.tl.similar_perturbations(adata, centred=False)
    assert (adata.obsp["similarity"][1:, 1:] > 0.99999).all()


def test_another_layer_and_another_key(bulk):
    bulk.layers["mine"] = bulk.layers["delta"][:, ::-1] ** 3
    spm.tl.similar_perturbations(bulk, layer="mine", key_added="cubes", metric="cosine", n_genes=20)
    assert list(bulk.obsp) == ["cubes"] and list(bulk.uns) == ["cubes"]
    params = {"metric": "cosine", "layer": "mine", "centred": True, "n_genes": 20}
    assert bulk.uns["cubes"]["params"] == params


def test_rows_of_several_contexts_are_all_compared():
    adata = spm.datasets.toy(n_genes=40, n_singles=6, n_doubles=0, cells_per_condition=20)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    bulk = spm.pp.pseudobulk(adata, context="cell_line")
    spm.tl.similar_perturbations(bulk)
    controls = bulk.obs["is_control"].to_numpy()
    assert controls.sum() == 2 and len(bulk.uns["similarity"]["order"]) == (~controls).sum()
    assert np.isnan(bulk.obsp["similarity"][controls]).all()


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2 data")
def test_the_slots_survive_being_written(bulk, tmp_path, form):
    spm.tl.similar_perturbations(bulk)
    getattr(bulk, f"write_{form}")(tmp_path / "one")
    found = getattr(ad, f"read_{form}")(tmp_path / "one")
    np.testing.assert_array_equal(found.obsp["similarity"], bulk.obsp["similarity"])
    np.testing.assert_array_equal(found.uns["similarity"]["linkage"], bulk.uns["similarity"]["linkage"])
    assert list(found.uns["similarity"]["order"]) == bulk.uns["similarity"]["order"]
    assert found.uns["similarity"]["params"] == bulk.uns["similarity"]["params"]
    pd.testing.assert_frame_equal(spm.get.similar(found), spm.get.similar(bulk))


def test_effects_are_left_as_they_were(bulk):
    before = bulk.copy()
    spm.tl.similar_perturbations(bulk, n_genes=5)
    np.testing.assert_array_equal(bulk.layers["delta"], before.layers["delta"])
    assert list(bulk.obs) == list(before.obs)


# ---------------------------------------------------------------- refusals


def cells(bulk):
    again = bulk[[0, 1, 1, 2]].copy()
    again.obs_names_make_unique()
    return again


@pytest.mark.parametrize(
    ("change", "options", "error", "text"),
    [
        (lambda a: a, {"metric": "euclidean"}, ValueError, "pearson.*spearman.*cosine"),
        (lambda a: a, {"layer": "core"}, KeyError, r"spm\.tl\.predict.*spm\.pp\.pseudobulk"),
        (lambda a: a, {"n_genes": 0}, ValueError, "n_genes"),
        (lambda a: a, {"n_genes": 2.5}, ValueError, "n_genes.*whole"),
        (lambda a: a[:2], {}, ValueError, "at least two treated rows.*found 1"),
        (cells, {}, ValueError, "several rows of 'P1'"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_way_on(bulk, change, options, error, text):
    with pytest.raises(error, match=text):
        spm.tl.similar_perturbations(change(bulk).copy(), **options)


def test_labels_are_needed_to_know_the_control(bulk):
    del bulk.obs["perturbation"]
    with pytest.raises(KeyError, match="perturbation"):
        spm.tl.similar_perturbations(bulk)
