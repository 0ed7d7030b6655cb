import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scperturbmamba.features.chemistry import (
    DESCRIPTORS,
    canonical_smiles,
    descriptor_table,
    morgan_table,
    read_structures,
)

FAMILIAR = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "ibuprofen": "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    "caffeine": "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "metformin": "CN(C)C(=N)NC(=N)N",
    "diazepam": "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc21",
    "imatinib": "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1",
    "dasatinib": "Cc1nc(Nc2ncc(C(=O)Nc3c(C)cccc3Cl)s2)cc(N2CCN(CCO)CC2)n1",
    "erlotinib": "C#Cc1cccc(Nc2ncnc3cc(OCCOC)c(OCCOC)cc23)c1",
    "gefitinib": "COc1cc2ncnc(Nc3ccc(F)c(Cl)c3)c2cc1OCCCN1CCOCC1",
    "vorinostat": "O=C(CCCCCCC(=O)Nc1ccccc1)NO",
    "panobinostat": "Cc1[nH]c2ccccc2c1CCNCc1ccc(/C=C/C(=O)NO)cc1",
    "fluoxetine": "CNCCC(Oc1ccc(C(F)(F)F)cc1)c1ccccc1",
    "sertraline": "CN[C@H]1CC[C@@H](c2ccc(Cl)c(Cl)c2)c2ccccc21",
    "morphine": "CN1CC[C@]23c4c5ccc(O)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5",
    "dexamethasone": "C[C@@H]1C[C@H]2[C@@H]3CCC4=CC(=O)C=C[C@]4(C)[C@@]3(F)[C@@H](O)C[C@]2(C)[C@@]1(O)C(=O)CO",
    "simvastatin": "CCC(C)(C)C(=O)O[C@H]1C[C@@H](C)C=C2C=C[C@H](C)[C@H](CC[C@@H]3C[C@@H](O)CC(=O)O3)[C@H]21",
    "methotrexate": "CN(Cc1cnc2nc(N)nc(N)c2n1)c1ccc(C(=O)N[C@@H](CCC(=O)O)C(=O)O)cc1",
    "warfarin": "CC(=O)CC(c1ccccc1)c1c(O)c2ccccc2oc1=O",
    "omeprazole": "COc1ccc2[nH]c(S(=O)Cc3ncc(C)c(OC)c3C)nc2c1",
    "propranolol": "CC(C)NCC(O)COc1cccc2ccccc12",
    "ciprofloxacin": "O=C(O)c1cn(C2CC2)c2cc(N3CCNCC3)c(F)cc2c1=O",
    "fluorouracil": "O=c1[nH]cc(F)c(=O)[nH]1",
    "tamoxifen": "CC/C(=C(\\c1ccccc1)c1ccc(OCCN(C)C)cc1)c1ccccc1",
    "sildenafil": "CCCc1nn(C)c2c1nc(-c1cc(S(=O)(=O)N3CCN(C)CC3)ccc1OCC)[nH]c2=O",
    "celecoxib": "Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1",
    "sorafenib": "CNC(=O)c1cc(Oc2ccc(NC(=O)Nc3ccc(Cl)c(C(F)(F)F)c3)cc2)ccn1",
    "levodopa": "N[C@@H](Cc1ccc(O)c(O)c1)C(=O)O",
    "JQ1": "Cc1sc2c(c1C)C(c1ccc(Cl)cc1)=N[C@@H](CC(=O)OC(C)(C)C)c1nnc(C)n1-2",
    "penicillin G": "CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O",
}
NAMES = list(FAMILIAR)
SMILES = {name: canonical_smiles(text) for name, text in FAMILIAR.items()}


def raw(table, name):
    """Return the numbers of a descriptor before they are brought to a common scale, logarithms undone."""
    _, _, is_log, middle, width = next(row for row in DESCRIPTORS if row[0] == name)
    values = table[name] * width + middle
    return np.expm1(values) if is_log else values


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.integers(1, 10_000))
def test_it_is_of_no_account_how_a_molecule_is_written(name, seed):
    from rdkit import Chem

    written = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(FAMILIAR[name]), 1, randomSeed=seed)[0]
    assert canonical_smiles(written) == SMILES[name]


def test_kekule_and_aromatic_forms_are_one_molecule_and_a_canonical_one_stays():
    assert canonical_smiles("C1=CC=CC=C1O") == canonical_smiles(" c1ccccc1O\n") == "Oc1ccccc1"
    assert all(canonical_smiles(text) == text for text in SMILES.values())


def test_of_a_salt_the_largest_part_is_described_as_given_and_the_mixture_is_listed():
    given_ = {"salt": "[Na+].CC(=O)Oc1ccccc1C(=O)[O-]", "hydrate": "O.Cn1c(=O)c2c(ncn2C)n(C)c1=O.O", "pure": "CCO"}
    found = read_structures(given_)
    assert found.smiles == {"salt": "CC(=O)Oc1ccccc1C(=O)[O-]", "hydrate": SMILES["caffeine"], "pure": "CCO"}
    assert found.mixtures == {name: given_[name] for name in ("salt", "hydrate")}
    charge = raw(descriptor_table(["salt", "pure"], found.smiles), "charge")
    np.testing.assert_allclose(charge, [-1, 0], atol=1e-6)


@pytest.mark.parametrize("wrong", ["c1cccc1", "C(C)(C)(C)(C)C", "aspirin", "C1CC", "", "  ", "CCO CCN", "CCO ethanol"])
def test_what_is_no_molecule_is_listed_and_rdkit_prints_nothing(wrong, capfd):
    found = read_structures({"good": "CCO", "bad": wrong})
    assert found.invalid == {"bad": wrong}
    assert found.smiles == {"good": "CCO"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("radius", "n_bits"), [(2, 1024), (2, 64), (3, 256)])
def test_counts_are_those_of_the_unfolded_fingerprint_of_rdkit_folded(radius, n_bits):
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    maker = rdFingerprintGenerator.GetMorganGenerator(radius=radius)
    table = morgan_table(NAMES, SMILES, radius=radius, n_bits=n_bits)
    assert table.shape == (len(NAMES), n_bits + 1)
    assert (table.dtypes == np.float32).all()
    for name in NAMES:
        expected = np.zeros(n_bits)
        sparse = maker.GetSparseCountFingerprint(Chem.MolFromSmiles(FAMILIAR[name])).GetNonzeroElements()
        for code, count in sparse.items():
            expected[code % n_bits] += count
        np.testing.assert_array_equal(table.loc[name].to_numpy()[:-1], expected)
        assert table.loc[name, "known"] == 1


def test_the_cosine_of_counts_ranks_as_the_tanimoto_likeness_of_rdkit_does():
    from rdkit.Chem import MolFromSmiles, rdFingerprintGenerator
    from rdkit.DataStructs import TanimotoSimilarity
    from scipy.stats import spearmanr

    maker = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    prints = [maker.GetCountFingerprint(MolFromSmiles(FAMILIAR[name])) for name in NAMES]
    values = morgan_table(NAMES, SMILES).to_numpy()[:, :-1]
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    pairs = np.triu_indices(len(NAMES), 1)
    tanimoto = [TanimotoSimilarity(prints[a], prints[b]) for a, b in zip(*pairs)]
    assert spearmanr((unit @ unit.T)[pairs], tanimoto).statistic > 0.9


def test_known_numbers_of_known_drugs():
    table = descriptor_table(NAMES, SMILES)
    assert list(table.columns) == [*(name for name, *_ in DESCRIPTORS), "known"]
    caffeine = {"log_weight": 194.080, "log_heavy_atoms": 14, "log_polar_surface": 61.82, "log_donors": 0, "rings": 2}
    aspirin = {"log_weight": 180.042, "log_heavy_atoms": 13, "log_polar_surface": 63.60, "log_donors": 1, "rings": 1}
    for drug, numbers in {"caffeine": caffeine, "aspirin": aspirin}.items():
        for name, expected in numbers.items():
            assert raw(table, name)[drug] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_familiar_drugs_lie_around_the_middle_at_about_the_width():
    table = descriptor_table(NAMES, SMILES).drop(columns=["known", "charge"])  # none of these is charged
    assert (table.mean().abs() < 0.3).all()
    assert table.std().between(0.7, 1.3).all()


def test_the_numbers_of_a_drug_do_not_depend_on_the_drugs_beside_it():
    for make in (morgan_table, descriptor_table):
        np.testing.assert_array_equal(make(NAMES, SMILES).loc["JQ1"], make(["JQ1"], SMILES).loc["JQ1"])


def test_a_drug_without_a_structure_keeps_its_row_of_zeros():
    for make in (morgan_table, descriptor_table):
        table = make(["nothing", "aspirin"], SMILES)
        assert list(table.index) == ["nothing", "aspirin"]
        assert not table.loc["nothing"].any()
        assert table.loc["aspirin", "known"] == 1
        assert not make(["nothing"], {}).to_numpy().any()


def test_without_rdkit_the_line_that_installs_it_is_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    for call in (
        lambda: read_structures({"a": "CCO"}),
        lambda: morgan_table(["a"], {"a": "CCO"}),
        lambda: descriptor_table(["a"], {"a": "CCO"}),
    ):
        with pytest.raises(ImportError, match=r'pip install "scperturbmamba\[chem\]"'):
            call()
