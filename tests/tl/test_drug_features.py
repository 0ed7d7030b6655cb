import sys
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scperturbmamba as spm
from scperturbmamba.data.feature_tables import feature_sources, read_features

DRUGS = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "caffeine": "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "(+)-JQ1": "Cc1sc2c(c1C)C(c1ccc(Cl)cc1)=N[C@@H](CC(=O)OC(C)(C)C)c1nnc(C)n1-2",
    "drug @ home": "CCO",
}
EMBEDDING = pd.DataFrame({"x": [1.5, 2, 4, 8], "y": [0.0, 3, 1, 7]}, index=["aspirin", "hypoxia", "caffeine", "later"])


def screen(labels=(*DRUGS, "GENE1", "control"), doses=None, kinds=None, **columns):
    """Return a screen with two cells per label, drugs at dose 1."""
    found = list(labels) * 2
    dose = doses or [1.0 if label in DRUGS else np.nan for label in labels]
    obs = pd.DataFrame({"condition": found, "dose": [*dose, *dose]}, index=[f"c{row}" for row in range(len(found))])
    obs["smiles"] = [DRUGS.get(label, "") for label in found]
    for name, values in columns.items():
        obs[name] = values
    adata = ad.AnnData(
        np.random.default_rng(0).poisson(2.0, (len(found), 5)).astype(np.float32),
        obs=obs,
        var=pd.DataFrame(index=[f"GENE{number}" for number in range(1, 6)]),
    )
    if kinds is not None:
        adata.obs["modality"] = [kinds.get(label, "drug") for label in found]
    spm.pp.perturbation_labels(
        adata, "condition", dose="dose", dose_unit="uM", perturbation_type=None if kinds is None else "modality"
    )
    return adata


@pytest.fixture
def adata():
    return screen()


@pytest.fixture
def refused(everything_in):
    """Return a check that a call raises and changes nothing."""

    def check(error, match, adata, *args, **options):
        before = everything_in(adata)
        with pytest.raises(error, match=match):
            spm.tl.drug_features(adata, *args, **options)
        assert everything_in(adata) == before

    return check


def rows(adata, source):
    record = adata.uns[f"drug_{source}"]
    return pd.DataFrame(record["values"], index=record["drugs"], columns=record["columns"])


def silent(adata, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spm.tl.drug_features(adata, *args, **options)


def test_drugs_with_marks_of_the_grammar_in_their_names_keep_their_structure(adata):
    assert r"(\+)-JQ1@1" in set(adata.obs["perturbation"])
    silent(adata)
    assert list(rows(adata, "fingerprint").index) == sorted(DRUGS)
    found = adata.uns["drug_smiles"]
    assert list(found["drugs"]) == sorted(DRUGS)
    assert dict(zip(found["drugs"], found["given"])) == DRUGS
    assert (rows(adata, "fingerprint")["known"] == 1).all()


def test_the_fingerprint_is_the_sum_over_the_atoms_of_rdkit(adata):
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    silent(adata, width={"fingerprint": 128})
    table = rows(adata, "fingerprint")
    maker = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=128)
    for name, text in DRUGS.items():
        expected = maker.GetCountFingerprintAsNumPy(Chem.MolFromSmiles(text))
        np.testing.assert_array_equal(table.loc[name].to_numpy()[:-1], expected)


@pytest.mark.parametrize("form", ["mapping", "series", "frame", "csv", "tsv with columns", "other column"])
def test_structures_come_from_a_mapping_a_table_a_file_or_another_column(adata, tmp_path, form):
    silent(adata, "descriptors")
    expected = rows(adata, "descriptors")
    series = pd.Series(DRUGS, name="SMILES")
    smiles = {"mapping": DRUGS, "series": series, "frame": series.to_frame().assign(rank=1.0)}.get(form)
    if form == "csv":
        smiles = tmp_path / "drugs.csv"
        series.to_csv(smiles)
    elif form == "tsv with columns":
        smiles = str(tmp_path / "drugs.tsv")
        table = pd.DataFrame({"canonical_smiles": series.to_numpy(), "id": 1, "drug": series.index})
        table.to_csv(smiles, sep="\t", index=False)
    elif form == "other column":
        adata.obs["structure"], smiles = adata.obs.pop("smiles"), "structure"
    del adata.uns["drug_descriptors"]
    silent(adata, "descriptors", smiles=smiles)
    pd.testing.assert_frame_equal(rows(adata, "descriptors"), expected)


@pytest.mark.parametrize("column", ["SMILES", "Canonical_SMILES", "smiles", "isomeric smiles"])
def test_the_column_of_structures_is_found_by_its_name(adata, column):
    adata.obs = adata.obs.rename(columns={"smiles": column})
    silent(adata, "descriptors")
    assert rows(adata, "descriptors")["known"].all()


def test_drugs_that_were_never_screened_and_drugs_asked_for_are_described(adata):
    more = {**DRUGS, "ethane": "CC"}
    with pytest.warns(UserWarning, match=r"no SMILES is given for 1 drugs: \['mystery'\]"):
        spm.tl.drug_features(adata, smiles=more, drugs=["mystery"])
    table = rows(adata, "fingerprint")
    assert list(table.index) == sorted([*more, "mystery"])
    assert not table.loc["mystery"].any()
    assert table.loc["ethane", "known"] == 1


def test_more_drugs_leave_the_provenance_and_the_numbers_of_the_others_as_they_are(adata):
    silent(adata)
    before = {name: (adata.uns[name]["provenance"], rows(adata, name[5:])) for name in feature_sources(adata)}
    silent(adata, smiles={**DRUGS, "ethane": "CC"})
    for name, (provenance, table) in before.items():
        assert adata.uns[name]["provenance"] == provenance
        pd.testing.assert_frame_equal(rows(adata, name[5:]).loc[table.index], table)
    silent(adata, width={"fingerprint": 64})
    assert adata.uns["drug_fingerprint"]["provenance"] != before["drug_fingerprint"][0]
    assert adata.uns["drug_descriptors"]["provenance"] == before["drug_descriptors"][0]


def test_what_cannot_be_read_is_listed_with_its_name_and_stays_in_the_table(adata):
    wrong = {**DRUGS, "aspirin": "c1cccc1", "caffeine": "no molecule"}
    with pytest.warns(UserWarning) as caught:
        spm.tl.drug_features(adata, smiles=wrong)
    (text,) = [str(one.message) for one in caught]
    assert "2 drugs" in text and "aspirin: c1cccc1" in text and "caffeine: no molecule" in text
    for source in ("fingerprint", "descriptors"):
        table = rows(adata, source)
        assert list(table.index) == sorted(DRUGS)
        assert not table.loc[["aspirin", "caffeine"]].to_numpy().any()
    smiles = dict(zip(*(adata.uns["drug_smiles"][key] for key in ("drugs", "smiles"))))
    assert smiles["aspirin"] == "" and smiles["drug @ home"] == "CCO"


def test_drugs_without_a_structure_are_listed_once():
    adata = screen()
    adata.obs.loc[adata.obs["condition"].isin(["aspirin", "caffeine"]), "smiles"] = None
    with pytest.warns(UserWarning, match=r"no SMILES is given for 2 drugs: \['aspirin', 'caffeine'\]") as caught:
        spm.tl.drug_features(adata)
    assert len(caught) == 1
    assert rows(adata, "descriptors")["known"].to_dict() == {name: name[0] in "(d" for name in DRUGS}


def test_two_spellings_of_one_molecule_are_one_and_two_molecules_are_refused(refused):
    adata = screen(smiles=[*DRUGS.values(), "", "", "O=C(C)Oc1ccccc1C(O)=O", *list(DRUGS.values())[1:], "", ""])
    silent(adata)
    assert adata.uns["drug_smiles"]["smiles"][list(adata.uns["drug_smiles"]["drugs"]).index("aspirin")]
    del adata.uns["drug_fingerprint"], adata.uns["drug_descriptors"], adata.uns["drug_smiles"]
    adata.obs.iloc[0, adata.obs.columns.get_loc("smiles")] = "CCC"
    refused(ValueError, "'aspirin': CCC, O=C", adata)


def test_in_a_combination_of_drugs_the_column_tells_of_neither():
    adata = screen(labels=("aspirin", "aspirin+caffeine", "control"), doses=[1.0, 2.0, np.nan])
    adata.obs["smiles"] = (
        adata.obs["condition"].map({"aspirin": DRUGS["aspirin"], "aspirin+caffeine": "CCC"}).fillna("")
    )
    with pytest.warns(UserWarning, match=r"no SMILES is given for 1 drugs: \['caffeine'\]"):
        spm.tl.drug_features(adata)
    assert rows(adata, "fingerprint").loc["aspirin", "known"] == 1


def test_names_that_differ_by_case_alone_are_one_where_no_other_does(adata):
    silent(adata, "descriptors", smiles={name.upper(): text for name, text in DRUGS.items()})
    assert list(rows(adata, "descriptors").index) == sorted(DRUGS)
    both = {**DRUGS, "ASPIRIN": "CC"}
    silent(adata, "descriptors", smiles=both)
    assert {"ASPIRIN", "aspirin"} <= set(rows(adata, "descriptors").index)
    del both["aspirin"]
    both["Aspirin"] = "CCC"  # two that differ from the label by case: neither is taken
    with pytest.warns(UserWarning, match="no SMILES is given for 1 drugs"):
        spm.tl.drug_features(adata, "descriptors", smiles=both)


# ---------------------------------------------------------------- tables of the user's


def named():
    """Return a screen of a drug at a dose, a named condition and a gene."""
    kinds = {"hypoxia": "other", "GENE1": "CRISPRi", "control": ""}
    labels = ("aspirin", "hypoxia", "GENE1", "control")
    return screen(labels=labels, doses=[1.0, np.nan, np.nan, np.nan], kinds=kinds)


@pytest.mark.parametrize("form", ["frame", "csv"])
def test_any_table_describes_drugs_and_named_conditions(form, tmp_path):
    adata, table = named(), EMBEDDING
    if form == "csv":
        table = tmp_path / "table.csv"
        EMBEDDING.rename_axis("drug").to_csv(table)
    silent(adata, "embedding", files={"embedding": table})
    found = rows(adata, "embedding")
    assert list(found.index) == sorted(EMBEDDING.index)
    np.testing.assert_array_equal(found.loc["hypoxia"], [2, 3, 1])
    assert "drug_smiles" not in adata.uns


def test_a_table_has_one_provenance_whatever_the_screen_and_another_with_other_numbers():
    one, other = named(), screen()
    silent(one, "embedding", files={"embedding": EMBEDDING})
    with pytest.warns(UserWarning, match="the table 'embedding' does not hold 2 drugs"):
        spm.tl.drug_features(other, "embedding", files={"embedding": EMBEDDING[::-1]})
    assert one.uns["drug_embedding"]["provenance"] == other.uns["drug_embedding"]["provenance"]
    silent(one, "embedding", files={"embedding": EMBEDDING + 1})
    assert one.uns["drug_embedding"]["provenance"] != other.uns["drug_embedding"]["provenance"]


def test_rows_of_a_table_that_are_genes_are_left_out_and_a_drug_called_like_a_gene_is_refused(refused):
    adata = named()
    table = pd.DataFrame({"x": [1.0, 2, 3]}, index=["aspirin", "hypoxia", "GENE1"])
    with pytest.warns(UserWarning, match=r"1 rows of 'embedding' are genes and were left out: \['GENE1'\]"):
        spm.tl.drug_features(adata, "embedding", files={"embedding": table})
    assert "GENE1" not in rows(adata, "embedding").index
    for options in ({"drugs": ["GENE2"]}, {"smiles": {"GENE2": "CCO"}}):
        refused(ValueError, r"called like genes of the screen; found \['GENE2'\]", adata, **options)
    adata = screen(labels=("GENE3", "control"), doses=[1.0, np.nan])
    refused(ValueError, r"found \['GENE3'\].*rename=", adata, smiles=DRUGS)


def test_without_rdkit_structures_are_refused_and_tables_work(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    adata = named()
    for source in ("fingerprint", "descriptors"):
        refused(ImportError, r'pip install "scperturbmamba\[chem\]"', adata, source, smiles=DRUGS)
        refused(ImportError, r"\[chem\]", adata, ["embedding", source], files={"embedding": EMBEDDING}, smiles={})
    silent(adata, "embedding", files={"embedding": EMBEDDING})
    assert len(rows(adata, "embedding")) == 4


# ---------------------------------------------------------------- refusals


def test_bad_requests_are_refused_and_change_nothing(adata, refused):
    refused(ValueError, "`files` must say where it is", adata, "embedding")
    refused(ValueError, "which no source reads", adata, files={"embedding": EMBEDDING})
    refused(ValueError, "cannot be the name of a slot", adata, "a/b", files={"a/b": EMBEDDING})
    refused(ValueError, "cannot be the name of a slot", adata, "smiles", files={"smiles": EMBEDDING})
    refused(ValueError, "is read by", adata, "embedding", files={"embedding": EMBEDDING}, smiles="smiles")
    refused(ValueError, "`width` must be one of", adata, width={"descriptors": 3})
    refused(ValueError, "whole number", adata, width={"fingerprint": 3.5})
    refused(ValueError, "several rows", adata, "e", files={"e": pd.concat([EMBEDDING, EMBEDDING])})
    refused(KeyError, "neither a column of `adata.obs` nor a file", adata, smiles="smile")
    refused(TypeError, "a mapping of drug to SMILES", adata, smiles=7)
    refused(ValueError, "found SMILES alone", adata, smiles=pd.DataFrame({"smiles": ["CC"]}))
    refused(KeyError, 'a column "smiles"', adata, smiles=pd.DataFrame({"a": ["b"], "c": ["d"]}))
    adata.obs = adata.obs.drop(columns="smiles")
    refused(KeyError, "no column of `adata.obs` is called", adata)
    del adata.obs["perturbation"]
    refused(KeyError, "spm.pp.perturbation_labels", adata)


def test_a_screen_of_genes_alone_has_no_drug(refused):
    adata = screen(labels=("GENE1", "GENE2", "control"), doses=[np.nan] * 3)
    refused(ValueError, "expected at least one drug", adata)


def test_a_gene_source_cannot_take_the_name_of_a_table_of_drugs(adata):
    with pytest.raises(ValueError, match="bears the name of a table of drugs"):
        spm.tl.gene_features(adata, ["drug_x"], files={"drug_x": {"set": ["GENE1"]}})


# ---------------------------------------------------------------- reading and using


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data")
@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_tables_survive_a_file(adata, tmp_path, form):
    table = EMBEDDING.rename({"hypoxia": "(+)-JQ1", "later": "drug @ home"})
    spm.tl.drug_features(adata, ["fingerprint", "descriptors", "embedding"], files={"embedding": table})
    getattr(adata, f"write_{form}")(tmp_path / "screen")
    found = getattr(ad, f"read_{form}")(tmp_path / "screen")
    assert feature_sources(found) == ["drug_descriptors", "drug_embedding", "drug_fingerprint"]
    for before, after in zip(read_features(adata, None), read_features(found, None)):
        assert (before.source, before.names, before.columns) == (after.source, after.names, after.columns)
        assert (before.provenance, before.scaled) == (after.provenance, after.scaled)
        assert after.scaled == (after.source == "drug_embedding")
        np.testing.assert_array_equal(before.values, after.values)
    assert list(found.uns["drug_smiles"]["smiles"]) == list(adata.uns["drug_smiles"]["smiles"])


def test_a_view_is_written_into_and_its_parent_is_left_alone(adata):
    part = adata[:4]
    silent(part)
    assert "drug_fingerprint" in part.uns and "drug_fingerprint" not in adata.uns


def test_a_drug_described_after_the_training_is_predicted_from_its_structure(train_tiny):
    adata = spm.datasets.toy_drugs(n_genes=30, n_drugs=10, doses=(10.0,), cells_per_condition=12, n_control=60)
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    spm.pp.normalize(adata)
    adata.obs["split"] = pd.Categorical(["train"] * adata.n_obs, categories=["train", "val", "test"])
    silent(adata)
    train_tiny(adata)
    like = adata.uns["drug_smiles"]["smiles"][0]
    with pytest.warns(UserWarning, match="nothing is known of \\['newdrug'\\].*spm.tl.drug_features"):
        assert spm.tl.predict(adata, "newdrug@10").obs["support"].tolist() == ["none"]
    known = dict(zip(adata.uns["drug_smiles"]["drugs"], adata.uns["drug_smiles"]["smiles"]))
    silent(adata, smiles={**known, "newdrug": like})
    assert spm.tl.predict(adata, "newdrug@10").obs["support"].tolist() == ["features"]
    spm.tl.drug_features(adata, smiles=known, width={"fingerprint": 64})
    with pytest.warns(UserWarning, match="drug_fingerprint.*made of other inputs"):
        spm.tl.predict(adata, f"{adata.uns['drug_smiles']['drugs'][0]}@10")
