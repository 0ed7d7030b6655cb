import gzip
import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scperturbmamba as spm
from scperturbmamba.features.identity import identity_table
from scperturbmamba.features.places import installed_genome
from scperturbmamba.tl._gene_features import gene_features


@pytest.fixture(scope="module")
def world():
    adata = spm.datasets.toy(n_genes=80, n_singles=16, n_doubles=3, cells_per_condition=12, n_control=150)
    label = adata.obs["condition"].astype(object)
    keep = label.notna() & (label != "multiplet")
    adata = adata[keep.to_numpy()].copy()
    adata.obs["perturbation"] = pd.Categorical(label[keep])
    adata.obs["is_control"] = (label[keep] == "control").to_numpy()
    adata.X = np.log1p(adata.X.toarray() / adata.X.sum(1).A1[:, None] * 1e4).astype(np.float32)
    adata.X = sp.csr_matrix(adata.X)
    return adata


@pytest.fixture
def adata(world):
    return world.copy()


@pytest.fixture(autouse=True)
def no_installed_genome(tmp_path, monkeypatch):
    monkeypatch.setenv("PYENSEMBL_CACHE_DIR", str(tmp_path / "cache"))


def files_of(adata):
    return {"position": adata.uns["toy"]["outside"], "pathway": adata.uns["toy"]["gene_sets"]}


def slots(adata):
    return {*adata.varm, *(key for key in adata.uns if key.startswith("gene_"))}


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_all_sources_survive_a_file(adata, tmp_path, suffix):
    names = ["identity", "position", "pathway", "toy", "essential"]
    essential = pd.DataFrame({"score": np.arange(80.0)}, index=adata.var_names)
    files = {**files_of(adata), "toy": adata.uns["toy"]["gene_sets"], "essential": essential}
    gene_features(adata, names, files=files, width={"identity": 8, "position": 4})
    assert slots(adata) == {f"gene_{name}" for name in names}
    if suffix == "h5ad":
        adata.write_h5ad(tmp_path / "a.h5ad")
        back = ad.read_h5ad(tmp_path / "a.h5ad")
    else:
        adata.write_zarr(tmp_path / "a.zarr")
        back = ad.read_zarr(tmp_path / "a.zarr")
    for name in names:
        slot = f"gene_{name}"
        assert adata.varm[slot].dtypes.eq(np.float32).all()
        pd.testing.assert_frame_equal(back.varm[slot], adata.varm[slot])
        pd.testing.assert_frame_equal(back.uns[slot]["targets"], adata.uns[slot]["targets"], check_index_type=False)
        assert back.uns[slot]["provenance"] == adata.uns[slot]["provenance"]
        assert set(back.uns[slot]["params"]) == set(adata.uns[slot]["params"])


def test_no_target_outside_is_an_empty_table_that_survives_a_file(adata, tmp_path):
    adata = adata[:, adata.var_names].copy()
    adata.obs["perturbation"] = pd.Categorical(np.where(adata.obs["is_control"], "control", adata.var_names[0]))
    gene_features(adata, "identity")
    assert adata.uns["gene_identity"]["targets"].shape == (0, 16)
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert ad.read_h5ad(tmp_path / "a.h5ad").uns["gene_identity"]["targets"].shape == (0, 16)


def test_perturbed_genes_that_are_not_measured_have_features(adata):
    outside = set(adata.uns["toy"]["outside"].index)
    gene_features(adata, files=files_of(adata))
    for source in ("identity", "position", "pathway"):
        targets = adata.uns[f"gene_{source}"]["targets"]
        assert set(targets.index) == outside
        assert list(targets.columns) == list(adata.varm[f"gene_{source}"].columns)
    assert adata.uns["gene_position"]["targets"]["known"].eq(1).all()
    in_sets = {gene for genes in adata.uns["toy"]["gene_sets"].values() for gene in genes}
    known = adata.uns["gene_pathway"]["targets"]["known"]
    assert known.to_dict() == {gene: float(gene in in_sets) for gene in outside}


def test_places_in_var_serve_measured_genes_and_the_file_fills_the_rest(adata):
    outside = adata.uns["toy"]["outside"]
    file = pd.concat([outside, adata.var.assign(start=1)])
    missing = adata.var_names[0]
    adata.var["chromosome"] = adata.var["chromosome"].astype(object).where(adata.var_names != missing, None)
    gene_features(adata, "position", files={"position": file})
    table = adata.varm["gene_position"]
    code = {str(number): number - 1 for number in range(1, 23)} | {"X": 22, "Y": 23}
    rest = adata.var_names[1:]
    assert table.loc[rest, "chromosome"].tolist() == [code[name] for name in adata.var.loc[rest, "chromosome"]]
    assert (table.loc[rest, "locus"] > 1e-5).all()
    assert 0 < table.loc[missing, "locus"] < 1e-6
    targets = adata.uns["gene_position"]["targets"]
    assert targets["chromosome"].tolist() == [code[outside.loc[name, "chromosome"]] for name in targets.index]


def test_without_any_place_a_warning_says_what_to_give(adata):
    adata.var = adata.var.drop(columns=["chromosome", "start"])
    with pytest.warns(UserWarning, match=r"80 of 80 measured genes have no position.*files="):
        gene_features(adata, "position")
    table = adata.varm["gene_position"]
    assert table["chromosome"].eq(24).all() and table["locus"].eq(0).all() and table["known"].eq(0).all()


def test_installed_ensembl_data_fill_what_var_lacks(adata, tmp_path, monkeypatch):
    pyensembl = pytest.importorskip("pyensembl")
    name = adata.uns["toy"]["outside"].index[0]
    own = f'gene_id "ENSG00000000001"; gene_name "{name}"; gene_biotype "protein_coding";'
    line = "\t".join(["7", "ensembl", "{}", "1593459", "1593999", ".", "+", ".", own])
    text = line.format("gene") + "\n" + line.format("transcript") + ' transcript_id "ENST00000000001";\n'
    for path in map(str, pyensembl.EnsemblRelease(100).required_local_files()):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt") as file:
            file.write(text if ".gtf" in path else ">ENST00000000001.1\nACGT\n")
    assert installed_genome().release == 100
    with pytest.warns(UserWarning, match="none of"):
        gene_features(adata, "position")
    row = adata.uns["gene_position"]["targets"].loc[name]
    assert row["chromosome"] == 6 and row["locus"] == pytest.approx(0.01, rel=1e-3)
    assert adata.uns["gene_position"]["params"]["ensembl_release"] == "100"


def rename(adata, old, new):
    adata.obs["perturbation"] = adata.obs["perturbation"].cat.rename_categories({old: new})


def test_a_target_measured_under_another_name_uses_that_row(adata):
    adata.var_names = ["MARCHF8", *adata.var_names[1:]]
    single = next(one for one in adata.obs["perturbation"].cat.categories if one in adata.var_names and "+" not in one)
    rename(adata, single, "MARCH8")
    gene_features(adata, files=files_of(adata))
    for source in ("identity", "position", "pathway"):
        targets = adata.uns[f"gene_{source}"]["targets"]
        np.testing.assert_array_equal(targets.loc["MARCH8"], adata.varm[f"gene_{source}"].loc["MARCHF8"])


def test_targets_meet_ensembl_ids_through_the_symbols_in_var(adata):
    symbols = list(adata.var_names)
    adata.var["symbol"] = symbols
    adata.var_names = adata.var.pop("ensembl_id").astype(str)
    gene_features(adata, ["identity", "position"], files={"position": adata.uns["toy"]["outside"]})
    targets = adata.uns["gene_position"]["targets"]
    measured = [name for name in targets.index if name in symbols]
    assert len(measured) >= 10
    for name in measured:
        row = adata.varm["gene_position"].iloc[symbols.index(name)]
        np.testing.assert_array_equal(targets.loc[name], row)


def test_the_user_s_aliases_are_used(adata):
    alias = {"cellular tumour antigen": adata.var_names[3]}
    gene_features(adata, "identity", genes=["cellular tumour antigen", "KLF99"], aliases=alias)
    targets = adata.uns["gene_identity"]["targets"]
    np.testing.assert_array_equal(targets.loc["cellular tumour antigen"], adata.varm["gene_identity"].iloc[3])
    np.testing.assert_array_equal(targets.loc["KLF99"], identity_table(["KLF99"]).loc["KLF99"])


def test_genes_unknown_everywhere_are_listed(adata):
    with pytest.warns(UserWarning, match=r"none of \['position', 'pathway'\] knows.*NOBODY.*NONE.*aliases="):
        gene_features(adata, ["identity", "position", "pathway"], files={**files_of(adata)}, genes=["NOBODY", "NONE"])


def test_drugs_are_no_genes(adata):
    first, second, *_ = [one for one in adata.obs["perturbation"].cat.categories if one != "control"]
    rename(adata, first, "dasatinib@10")
    rename(adata, second, "CUL3+trametinib@0.1")
    adata.obs["perturbation_type"] = pd.Categorical(
        np.where(adata.obs["perturbation"] == "dasatinib@10", "drug", "CRISPRi")
    )
    gene_features(adata, "identity")
    targets = adata.uns["gene_identity"]["targets"].index
    assert not {"dasatinib", "trametinib"} & set(targets)


def test_a_perturbed_gene_whose_cells_have_no_type_is_described_too(adata):
    gene_features(adata, "identity")
    targets = adata.uns["gene_identity"]["targets"]
    adata.obs["perturbation_type"] = pd.Categorical([np.nan] * adata.n_obs, categories=["CRISPRi"])
    gene_features(adata, "identity")
    assert len(targets) > 0
    pd.testing.assert_frame_equal(adata.uns["gene_identity"]["targets"], targets)


def test_pathways_are_learned_from_training_controls_only(adata):
    train = np.arange(adata.n_obs) % 2 == 0
    adata.obs["split"] = pd.Categorical(np.where(train, "train", "test"))
    gene_features(adata, "pathway", files={"pathway": adata.uns["toy"]["gene_sets"]})
    other = adata.copy()
    seen = train & adata.obs["is_control"].to_numpy()
    other.X[~seen] = other.X[~seen][:, ::-1]
    gene_features(other, "pathway", files={"pathway": adata.uns["toy"]["gene_sets"]})
    pd.testing.assert_frame_equal(other.varm["gene_pathway"], adata.varm["gene_pathway"])
    assert adata.uns["gene_pathway"]["params"]["n_cells"] == seen.sum()
    assert other.uns["gene_pathway"]["provenance"] == adata.uns["gene_pathway"]["provenance"]


def test_permuting_the_gene_sets_changes_the_features(adata):
    sets = adata.uns["toy"]["gene_sets"]
    other = dict(zip(adata.var_names, np.random.default_rng(0).permutation(adata.var_names)))
    permuted = {name: [other.get(gene, gene) for gene in genes] for name, genes in sets.items()}
    tables = []
    for one in (sets, permuted):
        gene_features(adata, "pathway", files={"pathway": one})
        tables.append(adata.varm["gene_pathway"].copy())
    assert np.linalg.norm(tables[0] - tables[1]) > 0.3 * np.linalg.norm(tables[0])


def test_a_mask_leaves_no_weight_outside_its_sets(adata):
    sets = adata.uns["toy"]["gene_sets"]
    gene_features(adata, ["pathway", "sets"], files={"pathway": sets, "sets": sets}, pathway_mode="mask")
    vectors, members = adata.varm["gene_pathway"], adata.varm["gene_sets"]
    for name in vectors.columns.drop("known"):
        assert vectors.loc[members[name] == 0, name].eq(0).all()


def test_a_healthy_reference_of_counts_teaches_the_pathways(adata):
    rng = np.random.default_rng(0)
    outside = adata.uns["toy"]["outside"].index[0]
    genes = [*adata.var_names[:50], outside, "OTHER"]
    depth = rng.lognormal(0, 0.5, (90, 1)) * rng.lognormal(1, 1, len(genes))
    reference = AnnData(sp.csr_matrix(rng.poisson(depth).astype(np.float32)), var=pd.DataFrame(index=genes))
    before = reference.X.copy()
    gene_features(adata, "pathway", reference=reference)
    params, targets = adata.uns["gene_pathway"]["params"], adata.uns["gene_pathway"]["targets"]
    assert params["cells"] == "reference" and params["n_cells"] == 90
    assert adata.varm["gene_pathway"]["known"].tolist()[50:] == [0] * 30
    assert targets.loc[outside, "known"] == 1 and targets["known"].sum() == 1
    assert (reference.X != before).nnz == 0
    logged, again = reference.copy(), adata.copy()
    spm.pp.normalize(logged)
    gene_features(again, "pathway", reference=logged)
    np.testing.assert_allclose(again.varm["gene_pathway"], adata.varm["gene_pathway"], atol=1e-4)


def test_the_same_seed_gives_the_same_features(adata):
    sets = {"pathway": adata.uns["toy"]["gene_sets"]}
    gene_features(adata, "pathway", files=sets, pathway_mode="mask", random_state=3)
    first = adata.varm["gene_pathway"].copy()
    np.random.default_rng().random()
    gene_features(adata, "pathway", files=sets, pathway_mode="mask", random_state=3)
    pd.testing.assert_frame_equal(adata.varm["gene_pathway"], first)


def test_a_gmt_and_a_csv_are_sources_of_their_own(adata, tmp_path):
    genes = list(adata.var_names)
    (tmp_path / "h.gmt").write_text(f"SET/A\tx\t{genes[0]}\t{genes[1].lower()}\n")
    pd.DataFrame({"gene": genes[:3], "score": [1.0, 2.0, 3.0]}).to_csv(tmp_path / "s.csv", index=False)
    gene_features(adata, ["h", "s"], files={"h": tmp_path / "h.gmt", "s": str(tmp_path / "s.csv")})
    assert adata.varm["gene_h"]["SET_A"].tolist()[:3] == [1, 1, 0]
    assert adata.varm["gene_s"]["score"].tolist()[:4] == [1, 2, 3, 0]
    assert adata.uns["gene_s"]["params"]["n_known"] == 3


def test_a_source_that_knows_no_measured_gene_is_told(adata):
    with pytest.warns(UserWarning, match="80 of 80 measured genes have no mouse features"):
        gene_features(adata, "mouse", files={"mouse": {"S": ["Xyz1", "Xyz2"]}})


def test_a_view_becomes_its_own_and_leaves_the_parent_alone(world):
    view = world[:, :40]
    gene_features(view, "identity")
    assert not view.is_view and view.varm["gene_identity"].shape == (40, 16)
    assert "gene_identity" not in world.varm and "gene_identity" not in world.uns


def no_control(adata):
    adata.obs["is_control"] = False


def counts(adata):
    adata.X = sp.csr_matrix(np.rint(np.expm1(adata.X.toarray())))


def nan(adata):
    adata.X.data[:] = np.nan


def twice(adata):
    adata.var_names = [adata.var_names[0]] * 2 + list(adata.var_names[2:])


def beyond(adata):
    adata.var["start"] = 300_000_000


def no_labels(adata):
    del adata.obs["perturbation"]


def nothing(adata):
    pass


@pytest.mark.parametrize(
    ("spoil", "call", "error", "message"),
    [
        (no_labels, {}, KeyError, "pp.perturbation_labels"),
        (no_control, {}, ValueError, "at least 10; found 0.*reference="),
        (counts, {}, ValueError, "raw counts.*spm.pp.normalize"),
        (nan, {}, ValueError, "finite"),
        (twice, {}, ValueError, "unique"),
        (beyond, {}, ValueError, "genome build"),
        (nothing, {"sources": ["identity", "hallmark"]}, ValueError, "'hallmark' is none of"),
        (nothing, {"sources": "identity", "files": {"position": "x.csv"}}, ValueError, "no source reads"),
        (nothing, {"sources": ["identity", "a/b"], "files": {"a/b": {"S": ["A"]}}}, ValueError, "no '/'"),
        (nothing, {"width": {"identity": 0}}, ValueError, "above 0"),
        (nothing, {"width": {"string": 4}}, ValueError, "width"),
        (nothing, {"pathway_mode": "free"}, ValueError, "pathway_mode"),
        (nothing, {"pathway_mode": "mask"}, ValueError, "needs gene sets"),
        (nothing, {"files": {"position": "nowhere.csv"}}, FileNotFoundError, "nowhere"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name_and_nothing_is_written(adata, spoil, call, error, message):
    spoil(adata)
    with pytest.raises(error, match=message):
        gene_features(adata, **call)
    assert slots(adata) == set()


def test_missing_genes_of_a_set_are_logged_and_not_warned_of(adata, caplog, recwarn):
    with caplog.at_level(logging.INFO, logger="scperturbmamba"):
        gene_features(adata, "one", files={"one": {"S": [adata.var_names[0], *adata.uns["toy"]["outside"].index]}})
    assert "79 of 80 measured genes" in caplog.text
    assert not [one for one in recwarn if issubclass(one.category, UserWarning)]


@pytest.mark.data
def test_every_target_of_norman_has_a_place_and_tp53_lies_on_17(shared_data):
    adata = ad.read_h5ad(shared_data / "data" / "norman2019_k562_crispra.h5ad")
    spm.pp.perturbation_labels(adata, "perturbation")
    spm.pp.normalize(adata, library_size="ncounts")
    knowledge = shared_data / "knowledge"
    files = {"position": knowledge / "grch38_protein_coding_genes.csv.gz", "pathway": knowledge / "hallmark.gmt"}
    with pytest.warns(UserWarning, match="53 of 500 measured genes"):
        gene_features(adata, files=files, genes=["TP53"])
    targets = adata.uns["gene_position"]["targets"]
    assert targets["known"].eq(1).all() and len(targets) > 20
    assert targets.loc["TP53", "chromosome"] == 16 and targets.loc["KLF1", "chromosome"] == 18
    assert ((adata.varm["gene_position"]["locus"] >= 0) & (adata.varm["gene_position"]["locus"] <= 1)).all()
    params = adata.uns["gene_pathway"]["params"]
    assert params["r2_held_out"] >= params["r2_held_out_pca"] - 1e-5
