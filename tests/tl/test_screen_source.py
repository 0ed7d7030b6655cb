"""Another screen as a gene feature."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scperturbmamba as spm


def effects_of(world, *, gaps=0.0):
    """Return the true effects of the toy world as a table."""
    truth = world.uns["toy"]["effects"]
    x = truth.to_numpy(np.float32).copy()
    x[np.random.default_rng(0).random(x.shape) < gaps] = np.nan
    adata = AnnData(x, obs=pd.DataFrame({"label": truth.index}, index=truth.index), var=world.var[[]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        spm.pp.perturbation_labels(adata, "label")
    return adata


@pytest.fixture(scope="module")
def world():
    adata = spm.datasets.toy(n_genes=60, n_singles=30, n_doubles=4, cells_per_condition=30, n_control=150)
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    return adata


@pytest.fixture(scope="module")
def other(world):
    return effects_of(world)


def rows_of(adata, source, names):
    slot = f"gene_{source}"
    return pd.concat([adata.varm[slot], adata.uns[slot]["targets"]]).loc[names].drop(columns="known").to_numpy()


def single_effects(world):
    truth = world.uns["toy"]["effects"]
    alone = truth[[("+" not in name) for name in truth.index]]
    return alone, (alone - alone.sum() / (len(alone) + 2))


def test_the_product_of_the_two_tables_is_the_effect_elsewhere(world, other):
    adata = world.copy()
    wide = {"screen": 60, "screen_response": 60}
    spm.tl.gene_features(adata, ["screen", "screen_response"], reference=other, width=wide)
    alone, centred = single_effects(world)
    done = rows_of(adata, "screen", list(alone.index))
    responds = rows_of(adata, "screen_response", list(adata.var_names))
    np.testing.assert_allclose(done @ responds.T, centred, atol=1e-4)


def test_a_gap_is_filled_by_what_like_perturbations_do(world):
    adata = world.copy()
    sparse = effects_of(world, gaps=0.3)
    narrow = {"screen": 4, "screen_response": 4}
    spm.tl.gene_features(adata, ["screen", "screen_response"], reference=sparse, width=narrow)
    alone, centred = single_effects(world)
    hidden = np.isnan(sparse[list(alone.index)].X)
    said = rows_of(adata, "screen", list(alone.index)) @ rows_of(adata, "screen_response", list(adata.var_names)).T
    assert np.corrcoef(said[hidden], centred.to_numpy()[hidden])[0, 1] > 0.5


def test_cells_are_compared_with_their_controls(world, other):
    one, two = world.copy(), world.copy()
    spm.tl.gene_features(one, "screen", reference=world, width={"screen": 3})
    spm.tl.gene_features(two, "screen", reference=other, width={"screen": 3})
    names = list(single_effects(world)[0].index)
    a, b = (rows_of(adata, "screen", names) for adata in (one, two))
    a, b = (np.corrcoef(rows @ rows.T)[np.triu_indices(len(rows), 1)] for rows in (a, b))
    assert np.corrcoef(a, b)[0, 1] > 0.5


def test_matched_cells_are_compared_with_the_controls_of_their_batch(world):
    still = world.copy()
    still.X = still.X.toarray()
    shifted = still.copy()
    shifted.X = shifted.X + shifted.obs["batch"].cat.codes.to_numpy(np.float32)[:, None]
    products = []
    for reference in (still, shifted):
        spm.pp.match_controls(reference, "batch")
        adata = world.copy()
        spm.tl.gene_features(adata, "screen", reference=reference, width={"screen": 3})
        rows = rows_of(adata, "screen", list(single_effects(world)[0].index))
        products.append(rows @ rows.T)
    np.testing.assert_allclose(*products, atol=1e-3)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_genes_not_perturbed_there_are_unknown_and_zero_and_survive_a_file(world, other, suffix, tmp_path):
    adata = world.copy()
    missing = list(single_effects(world)[0].index)[:3]
    some = other[~other.obs["perturbation"].isin(missing)].copy()
    spm.tl.gene_features(adata, "screen", reference=some, genes=["NOWHERE"])
    table = pd.concat([adata.varm["gene_screen"], adata.uns["gene_screen"]["targets"]])
    assert not table.loc[[*missing, "NOWHERE"]].any(axis=None)
    perturbed = set(single_effects(world)[0].index) - set(missing)
    assert set(table.index[table["known"] == 1]) == perturbed
    path = tmp_path / f"a.{suffix}"
    (adata.write_h5ad if suffix == "h5ad" else adata.write_zarr)(path)
    back = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    pd.testing.assert_frame_equal(back.varm["gene_screen"], adata.varm["gene_screen"])
    assert back.uns["gene_screen"]["provenance"] == adata.uns["gene_screen"]["provenance"]


def test_another_reference_has_another_provenance_and_the_same_seed_the_same_numbers(world):
    found = []
    for seed, gaps in ((0, 0.3), (0, 0.3), (0, 0.0)):
        adata = world.copy()
        spm.tl.gene_features(adata, "screen", reference=effects_of(world, gaps=gaps), random_state=seed)
        found.append((adata.uns["gene_screen"]["provenance"], adata.varm["gene_screen"]))
    assert found[0][0] == found[1][0] != found[2][0]
    pd.testing.assert_frame_equal(found[0][1], found[1][1])


def test_what_is_wrong_with_a_reference_is_said_and_nothing_is_written(world, other):
    adata = world.copy()
    with pytest.raises(ValueError, match="reference=other"):
        spm.tl.gene_features(adata, "screen")
    with pytest.raises(ValueError, match="once for each"):
        spm.tl.gene_features(adata, ["pathway", "screen"], reference=other)
    with pytest.raises(KeyError, match="perturbation_labels"):
        spm.tl.gene_features(adata, "screen", reference=AnnData(np.ones((3, 2))))
    pairs = other[[("+" in name) for name in other.obs["perturbation"]]].copy()
    with pytest.raises(ValueError, match="single perturbed genes"):
        spm.tl.gene_features(adata, "screen", reference=pairs)
    counts = world.copy()
    counts.X = counts.layers["counts"].copy()
    with pytest.raises(ValueError, match="counts"):
        spm.tl.gene_features(adata, "screen", reference=counts)
    assert not [key for key in (*adata.varm, *adata.uns) if str(key).startswith("gene_")]


def test_a_file_may_still_be_called_screen(world):
    adata = world.copy()
    table = pd.DataFrame({"score": 1.0}, index=adata.var_names)
    spm.tl.gene_features(adata, "screen", files={"screen": table})
    assert adata.varm["gene_screen"].columns.tolist() == ["score", "known"]
