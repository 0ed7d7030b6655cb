import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad

import scperturbmamba as spm


@pytest.fixture(scope="module")
def world():
    return spm.datasets.toy()


@pytest.fixture(scope="module")
def effects(world):
    return world.uns["toy"]["effects"]


def test_the_world_has_what_it_says(world):
    assert world.n_vars == 200
    labels = world.obs["condition"]
    treated = [label for label in labels.cat.categories if label not in ("control", "multiplet")]
    assert len(treated) == 72
    assert sum("+" in label for label in treated) == 12
    assert world.var_names.is_unique
    assert world.obs_names.is_unique
    assert set(world.obs["cell_line"]) == {"line_A", "line_B"}
    assert world.obs["batch"].nunique() == 3


def test_counts_are_whole_numbers_with_dispersion_beyond_poisson(world):
    counts = world.X.toarray()
    assert (counts >= 0).all()
    assert (counts == np.rint(counts)).all()
    control = counts[(world.obs["condition"] == "control") & (world.obs["cell_line"] == "line_A")]
    busy = control.mean(0) > 1
    assert (control.var(0)[busy] > 1.2 * control.mean(0)[busy]).mean() > 0.95


def test_one_seed_makes_one_world():
    small = {"n_genes": 50, "n_singles": 12, "n_doubles": 3, "cells_per_condition": 6, "n_control": 20}
    one, again, other = (spm.datasets.toy(**small, random_state=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.X.toarray(), again.X.toarray())
    pd.testing.assert_frame_equal(one.obs, again.obs)
    pd.testing.assert_frame_equal(one.var, again.var)
    pd.testing.assert_frame_equal(one.obsm["guide_counts"], again.obsm["guide_counts"])
    pd.testing.assert_frame_equal(one.uns["toy"]["effects"], again.uns["toy"]["effects"])
    assert one.uns["toy"]["gene_sets"] == again.uns["toy"]["gene_sets"]
    assert one.uns["toy"]["effects"].index.tolist() != other.uns["toy"]["effects"].index.tolist()


def test_making_a_world_leaves_the_global_seed_alone():
    np.random.seed(0)
    wanted = np.random.random()
    np.random.seed(0)
    spm.datasets.toy(n_genes=30, n_singles=8, n_doubles=1, cells_per_condition=4, n_control=10)
    assert np.random.random() == wanted


def test_both_parts_of_every_double_are_perturbed_alone(effects):
    doubles = [label for label in effects.index if "+" in label]
    assert doubles
    assert {part for label in doubles for part in label.split("+")} <= set(effects.index)
    assert all(label == "+".join(sorted(label.split("+"))) for label in doubles)


def test_silencing_a_gene_lowers_it(effects):
    measured = [label for label in effects.index if label in effects.columns]
    assert len(measured) == 56
    assert all(effects.loc[gene, gene] == pytest.approx(-1.6) for gene in measured)


def test_the_planted_fall_of_the_target_shows_in_the_cells(world, effects):
    depth = np.asarray(world.X.sum(1)).ravel()
    rates = pd.DataFrame(world.X.toarray() / depth[:, None], columns=world.var_names)
    mean = rates.groupby(world.obs["condition"].to_numpy()).mean()
    measured = [label for label in effects.index if label in effects.columns]
    left = [mean.loc[gene, gene] / mean.loc["control", gene] for gene in measured]
    assert np.median(left) < 0.35
    assert np.mean(np.array(left) < 0.7) > 0.95


def test_planted_effects_show_in_the_cells_of_the_first_line(world, effects):
    cells = world[(world.obs["cell_line"] == "line_A").to_numpy()]
    depth = np.asarray(cells.X.sum(1)).ravel()
    rates = pd.DataFrame(cells.X.toarray() / depth[:, None] * 1e4, columns=world.var_names)
    mean = np.log1p(rates.groupby(cells.obs["condition"].to_numpy()).mean())
    seen = (mean - mean.loc["control"]).loc[effects.index]
    r = [np.corrcoef(seen.loc[label], effects.loc[label])[0, 1] for label in effects.index]
    assert np.median(r) > 0.6


def test_the_two_lines_answer_with_different_gains():
    wide = spm.datasets.toy(n_singles=20, n_doubles=0, cells_per_condition=300, n_control=3000)
    labels = wide.obs["condition"].astype(object).where(wide.obs["condition"].notna(), "none").to_numpy()
    rates = pd.DataFrame(wide.X.toarray() / np.asarray(wide.X.sum(1)), columns=wide.var_names)
    mean = np.log(rates.groupby([wide.obs["cell_line"].to_numpy(), labels]).mean() + 1e-5)
    truth = wide.uns["toy"]["effects"]
    first, second = (
        np.corrcoef((mean.loc[line] - mean.loc[(line, "control")]).loc[truth.index].stack(), truth.stack())[0, 1]
        for line in ("line_A", "line_B")
    )
    assert first > second > 0.5


def test_doubles_are_not_just_sums(effects):
    doubles = [label for label in effects.index if "+" in label]
    beyond = [effects.loc[label] - sum(effects.loc[part] for part in label.split("+")) for label in doubles]
    size = np.array([np.linalg.norm(one) for one in beyond])
    assert (size > 0.1).any()
    assert (size < 1e-9).any()


def test_gene_sets_are_a_noisy_copy_of_the_truth(world, effects):
    sets = world.uns["toy"]["gene_sets"]
    assert len(sets) == 12
    genes = {*world.var_names, *world.uns["toy"]["outside"].index}
    assert all(genes.issuperset(members) and members for members in sets.values())
    listed = {gene for members in sets.values() for gene in members}
    assert 0 < len(genes - listed) < len(genes) / 2
    singles = [label for label in effects.index if "+" not in label]
    shared = {
        (a, b): any(a in members and b in members for members in sets.values())
        for a in singles
        for b in singles
        if a < b
    }
    r = effects.loc[singles].T.corr()
    alike, unlike = ([r.loc[pair] for pair, yes in shared.items() if yes is wanted] for wanted in (True, False))
    assert np.mean(alike) > np.mean(unlike) + 0.2


def test_some_perturbed_genes_are_not_measured(world, effects):
    outside = world.uns["toy"]["outside"]
    assert len(outside) == 4
    assert set(outside.index).isdisjoint(world.var_names)
    assert set(outside.index) <= set(effects.index)
    assert list(outside.columns) == list(world.var.columns)


def test_genes_have_places_on_real_chromosomes(world):
    assert set(world.var["chromosome"]) <= {*map(str, range(1, 23)), "X", "Y"}
    assert (world.var["end"] > world.var["start"]).all()
    assert (world.var["start"] > 0).all()
    assert not world.var["start"].is_monotonic_increasing


def test_guides_tell_the_condition_with_noise_multiplets_and_gaps(world):
    guides = world.obsm["guide_counts"]
    assert (guides.index == world.obs_names).all()
    strong = guides >= 4
    n_strong = strong.sum(1)
    condition = world.obs["condition"].astype(object).where(world.obs["condition"].notna(), "none")
    assert (n_strong[condition == "none"] == 0).mean() > 0.99
    assert 0.01 < (condition == "none").mean() < 0.06
    assert 0.04 < (condition == "multiplet").mean() < 0.1
    ambient = guides.to_numpy()[~strong.to_numpy()]
    assert 0.02 < ambient.mean() < 0.04
    top = strong.idxmax(axis=1).str.rsplit("_g", n=1).str[0]
    single = ~condition.str.contains("+", regex=False) & ~condition.isin(["none", "multiplet", "control"])
    assert (top[single] == condition[single]).all()
    assert (top[condition == "control"] == "non-targeting").all()
    assert (n_strong[condition.str.contains("+", regex=False)] == 2).mean() > 0.99


def test_a_world_survives_a_file(world, tmp_path):
    world.write_h5ad(tmp_path / "world.h5ad")
    back = read_h5ad(tmp_path / "world.h5ad")
    np.testing.assert_array_equal(back.X.toarray(), world.X.toarray())
    pd.testing.assert_frame_equal(back.uns["toy"]["effects"], world.uns["toy"]["effects"])
    pd.testing.assert_frame_equal(back.obsm["guide_counts"], world.obsm["guide_counts"])
    assert {name: list(members) for name, members in back.uns["toy"]["gene_sets"].items()} == world.uns["toy"][
        "gene_sets"
    ]


def test_the_labels_of_the_world_are_read_without_a_word(world):
    adata = world.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spm.pp.perturbation_labels(adata)
    assert set(adata.obs["perturbation"].cat.categories) == {"control", *adata.uns["toy"]["effects"].index}
    dropped = adata.obs["condition"].isna() | (adata.obs["condition"] == "multiplet")
    assert (adata.obs["perturbation"].isna() == dropped).all()


@pytest.mark.parametrize(
    "options", [{"n_doubles": 0, "n_outside": 0}, {"n_singles": 2, "n_outside": 2, "n_doubles": 1}]
)
def test_the_edges_of_what_can_be_asked_for_work(options):
    adata = spm.datasets.toy(**{"n_genes": 20, "n_singles": 5, "cells_per_condition": 4, "n_control": 5, **options})
    assert adata.n_vars == 20
    assert len(adata.uns["toy"]["outside"]) == options["n_outside"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_genes": 0}, "`n_genes` must be a number above 0"),
        ({"cells_per_condition": -1}, "`cells_per_condition` must be a number above 0"),
        ({"n_pathways": 0}, "`n_pathways` must be a number above 0"),
        ({"n_singles": 300}, "`n_singles` must be from 0 to 200"),
        ({"n_singles": 3}, "`n_outside` must be from 0 to 3"),
        ({"n_singles": 5, "n_doubles": 11}, "`n_doubles` must be from 0 to 10"),
    ],
)
def test_an_impossible_world_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        spm.datasets.toy(**options)
