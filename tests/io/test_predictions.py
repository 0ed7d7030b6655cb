from contextlib import nullcontext

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import scperturbmamba as spm

pytestmark = pytest.mark.filterwarnings("ignore:nothing is known of")  # a gene in no set


def scored(predicted, adata):
    spm.tl.evaluate(predicted, adata)
    return predicted.obs[["mse", "pearson_delta"]]


def test_our_own_prediction_comes_back_as_it_was_and_scores_the_same(counted, held_out):
    ours = spm.tl.predict(counted, held_out(counted))
    read = spm.io.read_predictions(counted, ours)
    assert list(read.obs_names) == list(ours.obs_names) and list(read.var_names) == list(ours.var_names)
    assert read.obs["perturbation"].dtype == "category" and set(read.obs["context"]) == {"all"}
    np.testing.assert_array_equal(read.X, ours.X)
    np.testing.assert_allclose(read.layers["control"], ours.layers["control"], atol=1e-5)
    np.testing.assert_allclose(read.layers["delta"], ours.X - ours.layers["control"], atol=1e-5)
    ours.layers["delta"] = ours.X - ours.layers["control"]
    pd.testing.assert_frame_equal(scored(read, counted), scored(ours, counted), atol=1e-4)


@pytest.mark.parametrize("form", ["arrays", "series", "adata", "file"])
def test_every_form_of_a_source_says_the_same(counted, singles, form, tmp_path):
    ours = spm.tl.predict(counted, singles(counted)[:3])
    table = pd.DataFrame(ours.X, index=ours.obs_names, columns=ours.var_names)
    if form == "arrays":
        source = dict(zip(table.index, table.to_numpy()))
    elif form == "series":
        source = {label: row[::-1] for label, row in table.iterrows()}
    else:
        source = ours[:, ::-1].copy()
    if form == "file":
        source.write_h5ad(tmp_path / "theirs.h5ad")
        source = str(tmp_path / "theirs.h5ad")
    read = spm.io.read_predictions(counted, source)
    assert list(read.obs_names) == list(table.index)
    np.testing.assert_array_equal(read.X, table.to_numpy())


def test_effects_are_added_to_the_mean_of_training_controls(screen, singles):
    effects = {singles(screen)[0]: np.linspace(-3, 0.5, 40)}
    read = spm.io.read_predictions(screen, effects, kind="effect")
    chosen = screen.obs["is_control"] & (screen.obs["split"] == "train")
    control = screen.X[chosen.to_numpy()].toarray().mean(0)
    np.testing.assert_allclose(read.layers["control"][0], control, atol=1e-5)
    np.testing.assert_allclose(read.layers["delta"][0], np.linspace(-3, 0.5, 40), atol=1e-6)
    np.testing.assert_allclose(read.X[0], np.maximum(control + np.linspace(-3, 0.5, 40), 0), atol=1e-5)


def test_no_effect_scores_as_the_baseline_that_says_so(screen, held_out):
    read = spm.io.read_predictions(screen, {label: np.zeros(40) for label in held_out(screen)}, kind="effect")
    spm.tl.evaluate(read, screen)
    summary = read.uns["evaluation"]["summary"]
    pd.testing.assert_series_equal(summary.loc["predicted"], summary.loc["no_change"], check_names=False)


def test_a_screen_in_silico_can_be_evaluated(counted, singles):
    effects = spm.tl.screen(counted, singles(counted))
    read = spm.io.read_predictions(counted, effects, kind="effect")
    assert (scored(read, counted)["mse"] > 0).all()
    np.testing.assert_allclose(read.layers["delta"], effects.X, atol=1e-6)
    assert spm.pl.effect(read, measured=spm.pp.pseudobulk(counted)) is not None


def test_cells_are_averaged_per_condition_and_those_without_a_label_left_out(screen):
    cells = screen[:, ::-1].copy()
    cells.obs["gene"] = cells.obs["condition"].astype(object).where(cells.obs["condition"].notna(), "unassigned")
    read = spm.io.read_predictions(screen, cells, column="gene")
    bulk = spm.pp.pseudobulk(screen)
    assert set(read.obs_names) == set(bulk.obs_names)
    np.testing.assert_allclose(read.X, bulk[read.obs_names].X, atol=1e-5)
    cells.X = sp.csc_matrix(cells.X)
    np.testing.assert_array_equal(spm.io.read_predictions(screen, cells, column="gene").X, read.X)


def test_labels_may_be_spelled_as_others_spell_them(screen):
    double = next(name for name in screen.obs["perturbation"].cat.categories if "+" in name)
    one, two = double.split("+")
    vector = np.zeros(40)
    for label, expected in {
        f"{one}_{two}": double, f"{two}+{one}": double, f"K562_{one}+{two}_1+1": double, f"{one}+ctrl": one,
        f"ctrl+{two}": two, "non-targeting": "control", f"{one}_KO": one,
    }.items():  # fmt: skip
        assert list(spm.io.read_predictions(screen, {label: vector}, kind="effect").obs_names) == [expected]


def test_a_gene_that_is_perturbed_and_not_measured_has_a_label_all_the_same(screen, singles):
    gene = singles(screen)[0]
    fewer = screen[:, screen.var_names != gene].copy()
    assert list(spm.io.read_predictions(fewer, {f"{gene}+ctrl": np.zeros(39)}, kind="effect").obs_names) == [gene]


def test_the_kind_is_told_apart_where_the_screen_holds_a_gene_under_two():
    obs = pd.DataFrame({"label": ["control"] * 4 + ["A_KO"] * 4 + ["A_activation"] * 4})
    x = np.random.default_rng(0).random((12, 3)).astype(np.float32)
    adata = ad.AnnData(x, obs=obs.set_index(obs.index.astype(str)), var=pd.DataFrame(index=["A", "B", "C"]))
    spm.pp.perturbation_labels(adata, "label")
    read = spm.io.read_predictions(adata, {"A_KO": np.ones(3) / 2, "A:CRISPRa": np.ones(3) / 3})
    assert list(read.obs_names) == ["A:knockout", "A:CRISPRa"]
    with pytest.raises(ValueError, match="name nothing"):
        spm.io.read_predictions(adata, {"A": np.ones(3) / 2})


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_order_and_number_of_genes_of_a_source_change_nothing_but_which_are_kept(shared_screen, data):
    genes = list(shared_screen.var_names)
    given_genes = data.draw(
        st.lists(st.sampled_from([*genes, "foreign"]), min_size=2, unique=True).filter(
            lambda names: names != ["foreign"]
        )
    )
    values = pd.Series(np.linspace(0.1, 2, len(given_genes)), index=given_genes)
    with pytest.warns(UserWarning) if set(given_genes) != set(genes) else nullcontext():
        read = spm.io.read_predictions(shared_screen, {"control": values})
    assert list(read.var_names) == [gene for gene in genes if gene in given_genes]
    np.testing.assert_allclose(read.X[0], values[list(read.var_names)], rtol=1e-6)


def test_genes_that_only_one_has_are_left_out_and_counted(screen, held_out):
    bulk = spm.pp.pseudobulk(screen)[held_out(screen)]
    fewer = bulk[:, 5:].copy()
    fewer.var_names = ["foreign", *fewer.var_names[1:]]
    with pytest.warns(UserWarning, match="34 genes are kept; 6 of the 40 in `adata` were not predicted, and 1 were"):
        read = spm.io.read_predictions(screen, fewer)
    assert list(read.var_names) == list(screen.var_names[6:])
    assert scored(read, screen)["mse"].notna().all()
    fewer.var_names = [f"other{number}" for number in range(35)]
    with pytest.raises(ValueError, match="Bring both to the same gene names"):
        spm.io.read_predictions(screen, fewer)


def test_expression_and_effect_are_not_mistaken_for_each_other_in_silence(screen, held_out):
    bulk = spm.pp.pseudobulk(screen)[held_out(screen)]
    effects = dict(zip(bulk.obs_names, bulk.layers["delta"]))
    with pytest.warns(UserWarning, match="look like effect.*`kind='effect'`"):
        spm.io.read_predictions(screen, effects)
    with pytest.warns(UserWarning, match="look like expression.*`kind='expression'`"):
        spm.io.read_predictions(screen, bulk, kind="effect")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ({"NOSUCH1": np.ones(40)}, ValueError, "1 labels name nothing"),
        ({}, ValueError, "found none with a label"),
        ({"control": np.ones(39)}, ValueError, r"one number per gene of `adata`, 40; found the shape \(39,\)"),
        ({"control": np.full(40, np.nan)}, ValueError, "the predictions must be finite"),
        ({"control": np.arange(40)}, ValueError, "whole numbers, as raw counts"),
        ({"control": np.ones(40), "ctrl": np.ones(40)}, ValueError, r"found \['control', 'ctrl'\] for 'control'"),
        ({"control": pd.Series([1.0, 1.0], index=["A", "A"])}, ValueError, r"\['A'\] occur twice"),
        ("nowhere.h5ad", FileNotFoundError, "there is no file 'nowhere.h5ad'"),
        (pd.DataFrame(), TypeError, "found DataFrame"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(screen, source, error, message):
    with pytest.raises(error, match=message):
        spm.io.read_predictions(screen, source)


def test_a_source_needs_labels_numbers_and_single_genes(screen):
    bulk = spm.pp.pseudobulk(screen)
    with pytest.raises(KeyError, match="`column='perturbatoin'`.*Did you mean 'perturbation'"):
        spm.io.read_predictions(screen, bulk, column="perturbatoin")
    with pytest.raises(ValueError, match="found no `X`"):
        spm.io.read_predictions(screen, ad.AnnData(obs=bulk.obs, var=bulk.var))
    with pytest.raises(ValueError, match="`kind` must be one of"):
        spm.io.read_predictions(screen, bulk, kind="logfc")
    counts = screen.copy()
    counts.X = counts.layers["counts"]
    with pytest.raises(ValueError, match=r"spm.pp.normalize\(source\)"):
        spm.io.read_predictions(screen, counts)
    bulk.var_names = ["same"] * 40
    with pytest.raises(ValueError, match="gene names that occur twice"):
        spm.io.read_predictions(screen, bulk)


def test_without_training_controls_there_is_nothing_to_compare_with(screen):
    screen = screen[~screen.obs["is_control"] | (screen.obs["split"] == "test")].copy()
    with pytest.raises(ValueError, match="expected control cells on the side 'train'"):
        spm.io.read_predictions(screen, {"control": np.full(40, 1.5)})
    del screen.obs["split"]
    assert spm.io.read_predictions(screen, {"control": np.full(40, 4.5)}).n_obs == 1
