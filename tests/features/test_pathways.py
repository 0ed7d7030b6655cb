import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from sklearn.decomposition import PCA

import scperturbmamba as spm
from scperturbmamba.features.gene_sets import membership, read_gmt
from scperturbmamba.features.pathways import fit_pathways, predict_vectors


@pytest.fixture(scope="module")
def toy():
    """Log-normalised control cells × genes of the toy world, the names, and its gene sets."""
    adata = spm.datasets.toy(n_genes=120, n_singles=10, n_doubles=1, cells_per_condition=5, n_control=220)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    control = adata[(adata.obs["condition"] == "control").to_numpy()]
    return control.X.toarray(), list(adata.var_names), adata.uns["toy"]["gene_sets"]


def pca_explained(pathways, train, held, genes, width):
    a, b = pathways.standardise(train, genes), pathways.standardise(held, genes)
    pca = PCA(min(width, *a.shape), svd_solver="full").fit(a)
    return 1 - np.square(b - pca.inverse_transform(pca.transform(b))).sum() / np.square(b).sum()


@pytest.mark.parametrize("mode", ["data", "init"])
def test_held_out_controls_are_reconstructed_as_well_as_by_pca(toy, mode):
    expression, genes, sets = toy
    train, held = expression[::2], expression[1::2]
    pathways = fit_pathways(train, genes, sets=sets, mode=mode)
    width = pathways.vectors.shape[1]
    assert pathways.explained(held, genes) >= pca_explained(pathways, train, held, genes, width) - 1e-5


def test_a_gene_s_vector_is_its_decoder_row_and_pathways_have_one_scale(toy):
    expression, genes, _ = toy
    pathways = fit_pathways(expression, genes, width=6)
    np.testing.assert_allclose(np.square(pathways.vectors).mean(), 1, rtol=1e-5)
    decoder = pathways.fit.model.loadings().detach().numpy()
    for column in range(6):
        assert np.corrcoef(decoder[:, column], pathways.vectors.iloc[:, column])[0, 1] == pytest.approx(1)


def test_permuting_the_sets_changes_the_vectors(toy):
    expression, genes, sets = toy
    other = dict(zip(genes, np.random.default_rng(0).permutation(genes)))
    permuted = {name: [other.get(gene, gene) for gene in members] for name, members in sets.items()}
    for mode in ("init", "mask"):
        one, two = (fit_pathways(expression, genes, sets=each, mode=mode).vectors for each in (sets, permuted))
        assert np.linalg.norm(one - two) > 0.3 * np.linalg.norm(one)


def test_a_masked_vector_is_exactly_zero_outside_its_sets(toy):
    expression, genes, sets = toy
    vectors = fit_pathways(expression, genes, sets=sets, mode="mask").vectors
    inside = membership(list(vectors.index), sets)[list(vectors.columns)].to_numpy() == 1
    assert (vectors.to_numpy()[~inside] == 0).all()
    assert (vectors.to_numpy()[inside] != 0).all()


def test_genes_that_only_the_sets_know_get_a_vector_from_their_sets(toy):
    expression, genes, sets = toy
    name = max(sets, key=lambda one: len(sets[one]))
    sets = {**sets, name: [*sets[name], "NOVEL1"]}
    table = fit_pathways(expression, genes, sets=sets, mode="init").table(["NOVEL1", "NOBODY", genes[0]])
    assert table["known"].tolist() == [1, 0, 1]
    assert table.drop(columns="known").loc["NOBODY"].eq(0).all()
    assert table.drop(columns="known").loc["NOVEL1"].ne(0).any()


def test_a_predicted_vector_is_nearer_to_its_own_set_than_to_others():
    rng = np.random.default_rng(0)
    sets = {f"S{k}": [f"G{k}_{i}" for i in range(12)] for k in range(4)}
    centre = {k: rng.normal(size=5) for k in range(4)}
    learned = {f"G{k}_{i}": centre[k] + 0.1 * rng.normal(size=5) for k in range(4) for i in range(10)}
    vectors = pd.DataFrame(learned, index=[f"p{i}" for i in range(5)]).T
    predicted = predict_vectors(vectors, sets)
    assert sorted(predicted.index) == [f"G{k}_{i}" for k in range(4) for i in (10, 11)]
    for gene, row in predicted.iterrows():
        distance = {k: np.linalg.norm(row - centre[k]) for k in range(4)}
        assert min(distance, key=distance.get) == int(gene[1])


def test_a_gene_that_does_not_vary_has_no_vector_of_its_own(toy):
    expression, genes, _ = toy
    silent = expression.copy()
    silent[:, 0] = 0
    silent[2:, 1] = 0
    pathways = fit_pathways(silent, genes, width=4)
    assert genes[0] not in pathways.vectors.index and genes[1] not in pathways.vectors.index
    assert pathways.table(genes[:3])["known"].tolist() == [0, 0, 1]


def test_the_default_width_shrinks_with_the_cells_and_an_impossible_one_is_refused(toy):
    expression, genes, sets = toy
    assert fit_pathways(expression[:15], genes).vectors.shape[1] == 14
    with pytest.raises(ValueError, match="at most 14"):
        fit_pathways(expression[:15], genes, width=20)
    with pytest.raises(ValueError, match="number of sets"):
        fit_pathways(expression, genes, sets=sets, mode="init", width=20)


def test_sets_that_fit_no_gene_and_a_mode_without_sets_are_refused(toy):
    expression, genes, _ = toy
    with pytest.raises(ValueError, match="none of the gene sets"):
        fit_pathways(expression, genes, sets={"S": ["X1", "X2"]}, mode="init")
    with pytest.raises(ValueError, match="needs gene sets"):
        fit_pathways(expression, genes, mode="mask")
    with pytest.raises(ValueError, match="0 genes vary"):
        fit_pathways(np.zeros((20, 5)), list("ABCDE"))


@pytest.mark.data
@pytest.mark.parametrize("mode", ["data", "init"])
@pytest.mark.parametrize("name", ["pbmc3k_1000cells", "norman2019_k562_crispra"])
def test_held_out_real_controls_are_reconstructed_as_well_as_by_pca(shared_data, name, mode):
    adata = anndata.read_h5ad(shared_data / "data" / f"{name}.h5ad")
    size = adata.X.sum(axis=1).A1 if name.startswith("pbmc") else adata.obs["ncounts"].to_numpy()
    if "control" in adata.obs:
        adata, size = adata[adata.obs["control"].to_numpy(bool)], size[adata.obs["control"].to_numpy(bool)]
    expression = np.log1p(adata.X.toarray() / size[:, None] * 1e4)
    top = np.sort(np.argsort(-expression.var(axis=0))[:600])
    expression, genes = expression[:, top], list(adata.var_names[top])
    held = np.arange(len(expression)) % 5 == 0
    sets = read_gmt(shared_data / "knowledge" / "hallmark.gmt")
    pathways = fit_pathways(expression[~held], genes, sets=sets, mode=mode)
    width = pathways.vectors.shape[1]
    expected = pca_explained(pathways, expression[~held], expression[held], genes, width)
    assert pathways.explained(expression[held], genes) >= expected - 1e-5
