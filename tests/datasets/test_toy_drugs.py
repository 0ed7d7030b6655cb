import numpy as np
import pandas as pd
import pytest

import scperturbmamba as spm


@pytest.fixture(scope="module")
def world():
    return spm.datasets.toy_drugs()


@pytest.fixture(scope="module")
def truth(world):
    return world.uns["toy"]


def test_the_world_has_what_it_says(world):
    treated = world.obs[world.obs["drug"] != "control"]
    assert world.n_vars == 100 and world.obs_names.is_unique
    assert treated["drug"].nunique() == 24
    assert treated.groupby("drug", observed=True)["dose"].nunique().eq(3).all()
    assert set(world.obs["cell_line"]) == {"line_A", "line_B"}
    assert set(world.obs.loc[world.obs["drug"] == "control", "dose"]) == {0.0}
    counts = world.X.toarray()
    assert (counts == np.rint(counts)).all() and (counts >= 0).all()


def test_every_plate_has_vehicle_cells_of_both_lines_and_every_drug_is_on_one_plate(world):
    vehicle = world.obs[world.obs["drug"] == "control"]
    assert (vehicle.groupby(["plate", "cell_line"], observed=False).size() > 10).all()
    treated = world.obs[world.obs["drug"] != "control"]
    assert (treated.groupby("drug", observed=True)["plate"].nunique() == 1).all()
    assert treated.groupby("plate", observed=True)["drug"].nunique().tolist() == [8, 8, 8]


def test_the_labels_are_read_as_drugs_at_doses(world, truth):
    adata = world.copy()
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    labels = set(adata.obs["perturbation"].cat.categories) - {"control"}
    assert labels == set(truth["effects"].index) == set(truth["effects_second"].index)
    assert set(adata.obs["perturbation_type"]) == {"drug", "control"}


def test_the_response_to_the_dose_is_a_hill_curve_with_the_ec50_that_is_told():
    doses = (0.01, 0.3, 7.0, 1e12)
    truth = spm.datasets.toy_drugs(n_drugs=5, doses=doses).uns["toy"]
    for effects in (truth["effects"], truth["effects_second"]):
        for drug, half in truth["ec50"].items():
            full = effects.loc[f"{drug}@1e12"]
            for dose in doses[:3]:
                expected = 1 / (1 + (half / dose) ** truth["slope"][drug])
                np.testing.assert_allclose(effects.loc[f"{drug}@{dose:g}"], expected * full, rtol=1e-6, atol=1e-9)


def test_at_its_ec50_a_drug_has_half_its_effect():
    half = spm.datasets.toy_drugs(n_drugs=4, random_state=5).uns["toy"]["ec50"]["compound03"]
    truth = spm.datasets.toy_drugs(n_drugs=4, doses=(half, 1e12), random_state=5).uns["toy"]
    at_half, full = truth["effects"].loc[[f"compound03@{half:.12g}", "compound03@1e12"]].to_numpy()
    np.testing.assert_allclose(at_half, full / 2, rtol=1e-6, atol=1e-9)


def test_the_lines_answer_alike_where_their_gains_are_alike(truth):
    assert (truth["gains"]["line_A"] == 1).all()
    for drug, pathways in truth["pathways"].items():
        a, b = (truth[name].loc[f"{drug}@10"].to_numpy() for name in ("effects", "effects_second"))
        assert np.corrcoef(a, b)[0, 1] > 0.6
        assert not np.allclose(a, b)
        assert set(pathways) <= set(truth["gene_sets"])


def test_drugs_of_one_first_pathway_act_more_alike_than_others(truth):
    drugs = list(truth["pathways"])
    effects = truth["effects"].loc[[f"{drug}@10" for drug in drugs]].to_numpy()
    like = np.corrcoef(effects)
    first = np.array([truth["pathways"][drug][0] for drug in drugs])
    same = (first[:, None] == first) & ~np.eye(len(drugs), dtype=bool)
    assert like[same].mean() > like[first[:, None] != first].mean() + 0.4


def test_the_molecules_are_valid_and_those_of_one_pathway_are_more_alike(world, truth):
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator
    from rdkit.DataStructs import BulkTanimotoSimilarity

    table = world.obs[["drug", "smiles"]].drop_duplicates().set_index("drug")["smiles"].astype(str)
    molecules = [Chem.MolFromSmiles(text) for text in table]
    assert all(molecules)
    assert len({Chem.MolToSmiles(one) for one in molecules}) == 25
    drugs = sorted(truth["pathways"])
    maker = rdFingerprintGenerator.GetMorganGenerator(radius=2)
    prints = [maker.GetCountFingerprint(Chem.MolFromSmiles(table[drug])) for drug in drugs]
    like = np.array([BulkTanimotoSimilarity(one, prints) for one in prints])
    first = np.array([truth["pathways"][drug][0] for drug in drugs])
    same = (first[:, None] == first) & ~np.eye(len(drugs), dtype=bool)
    assert like[same].mean() > like[first[:, None] != first].mean() + 0.15


def test_every_molecule_that_can_be_drawn_is_valid_and_different_from_all_others():
    from rdkit import Chem

    from scperturbmamba.datasets._toy_smiles import N_SCAFFOLDS, PER_SCAFFOLD, draw_smiles

    scaffolds = [one for one in range(N_SCAFFOLDS) for _ in range(PER_SCAFFOLD)]
    drawn = [Chem.MolFromSmiles(text) for text in draw_smiles(scaffolds, np.random.default_rng(0))]
    assert all(drawn)
    assert len({Chem.MolToSmiles(one) for one in drawn}) == len(scaffolds)


def test_controls_of_the_same_plate_show_the_effect_better_than_all_controls():
    """The shift of a plate hits vehicle and treated cells alike."""
    world = spm.datasets.toy_drugs(n_genes=60, n_drugs=6, doses=(1e3,), cells_per_condition=300, n_control=1800)
    spm.pp.normalize(world)
    effects, line = world.uns["toy"]["effects"], (world.obs["cell_line"] == "line_A").to_numpy()
    matched, pooled = [], []
    for label in effects.index:
        cells = (world.obs["drug"] == label.split("@")[0]).to_numpy() & line
        plate = (world.obs["plate"] == world.obs.loc[cells, "plate"].iloc[0]).to_numpy()
        vehicle = (world.obs["drug"] == "control").to_numpy() & line
        mean = np.asarray(world.X[cells].mean(0)).ravel()
        for found, some in ((matched, vehicle & plate), (pooled, vehicle)):
            found.append(np.corrcoef(mean - np.asarray(world.X[some].mean(0)).ravel(), effects.loc[label])[0, 1])
    assert np.mean(matched) > 0.85
    assert np.mean(matched) > np.mean(pooled) + 0.05


def test_one_seed_makes_one_world_and_the_global_seed_is_left_alone():
    small = {"n_genes": 30, "n_drugs": 8, "cells_per_condition": 4, "n_control": 20}
    np.random.seed(0)
    wanted = np.random.random()
    np.random.seed(0)
    one, again, other = (spm.datasets.toy_drugs(**small, random_state=seed) for seed in (3, 3, 4))
    assert np.random.random() == wanted
    np.testing.assert_array_equal(one.X.toarray(), again.X.toarray())
    pd.testing.assert_frame_equal(one.obs, again.obs)
    pd.testing.assert_frame_equal(one.uns["toy"]["effects"], again.uns["toy"]["effects"])
    assert one.uns["toy"]["ec50"] == again.uns["toy"]["ec50"] != other.uns["toy"]["ec50"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"n_drugs": 0}, "`n_drugs` must be a number above 0"),
        ({"plates": 30}, "`plates` must be at most 24"),
        ({"doses": ()}, "`doses` must be one or more numbers"),
        ({"doses": (1, 1)}, "all different"),
        ({"doses": (0, 1)}, "`doses` must be a number above 0"),
        ({"n_drugs": 100_000}, "`n_drugs` must be at most 2048"),
    ],
)
def test_what_cannot_be_made_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        spm.datasets.toy_drugs(**wrong)


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data")
@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_the_world_survives_a_file(world, tmp_path, form):
    import anndata

    getattr(world, f"write_{form}")(tmp_path / "world")
    found = getattr(anndata, f"read_{form}")(tmp_path / "world").uns["toy"]
    pd.testing.assert_frame_equal(found["effects"], world.uns["toy"]["effects"], check_names=False)
    assert {name: float(value) for name, value in found["ec50"].items()} == world.uns["toy"]["ec50"]
    assert {name: list(value) for name, value in found["pathways"].items()} == world.uns["toy"]["pathways"]
