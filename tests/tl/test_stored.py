import anndata as ad
import numpy as np
import pytest

import scperturbmamba as spm

LABELS = ["GATA2", "KLF16+GATA2", "IRF7", "TP53", "control"]


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize(("which", "suffix"), [("trained", "h5ad"), ("counted", "h5ad"), ("counted", "zarr")])
def test_a_screen_read_from_a_file_predicts_what_it_did_before(request, which, suffix, tmp_path):
    adata = request.getfixturevalue(which)
    expected = spm.tl.predict(adata, LABELS)
    if suffix == "h5ad":
        adata.write_h5ad(tmp_path / "a.h5ad")
        back = ad.read_h5ad(tmp_path / "a.h5ad")
    else:
        adata.write_zarr(tmp_path / "a.zarr")
        back = ad.read_zarr(tmp_path / "a.zarr")
    found = spm.tl.predict(back, LABELS)
    assert list(found.obs_names) == list(expected.obs_names)
    for layer in ("delta", "control"):
        assert np.array_equal(found.layers[layer], expected.layers[layer])
    assert np.array_equal(found.X, expected.X)
    assert list(found.obs["support"]) == list(expected.obs["support"])
    if which == "counted":
        one, other = (spm.tl.predict(a, "GATA2", n_cells=4) for a in (adata, back))
        assert np.array_equal(one.X, other.X)


@pytest.mark.parametrize("which", ["trained", "counted"])
def test_a_folder_predicts_what_the_screen_does(request, which, tmp_path, shared_screen):
    adata = request.getfixturevalue(which)
    expected = spm.tl.predict(adata, LABELS)
    assert spm.tl.save_predictor(adata, tmp_path / "p") is None
    bare = shared_screen.copy()
    for folder in (tmp_path / "p", str(tmp_path / "p")):
        assert np.array_equal(spm.tl.predict(bare, LABELS, predictor=folder).X, expected.X)
    assert "predictor" not in bare.uns
    assert spm.tl.load_predictor(bare, tmp_path / "p") is None
    assert np.array_equal(spm.tl.predict(bare, LABELS).X, expected.X)
    assert spm.get.history(bare).equals(spm.get.history(adata))


def test_what_a_folder_predicts_can_be_judged_with_the_context_and_split_of_its_training(
    screen, train_tiny, tmp_path, conditions_of
):
    screen.obs["mine"] = screen.obs["split"]
    train_tiny(screen, context="cell_line", key="mine")
    expected = spm.tl.predict(screen, conditions_of(screen, "test"))
    spm.tl.save_predictor(screen, tmp_path / "p")
    del screen.uns["predictor"], screen.obs["split"]
    found = spm.tl.predict(screen, list(dict.fromkeys(expected.obs["perturbation"])), predictor=tmp_path / "p")
    assert found.uns["predictor"]["params"] == expected.uns["predictor"]["params"]
    for one in (found, expected):
        spm.tl.evaluate(one, screen)
    np.testing.assert_array_equal(found.obs["mse"], expected.obs["mse"])


def test_a_predictor_saved_after_reading_the_screen_from_a_file_is_the_same(trained, tmp_path):
    trained.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    spm.tl.save_predictor(back, tmp_path / "p")
    found = spm.tl.predict(back, LABELS, predictor=tmp_path / "p")
    assert np.array_equal(found.X, spm.tl.predict(trained, LABELS).X)
    assert found.uns["predictor"]["params"] == trained.uns["predictor"]["params"]


def test_another_screen_can_lend_its_predictor(trained, shared_screen):
    bare = shared_screen.copy()
    found = spm.tl.predict(bare, LABELS, predictor=trained)
    assert np.array_equal(found.X, spm.tl.predict(trained, LABELS).X)
    with pytest.raises(KeyError, match=r"spm\.tl\.train_predictor"):
        spm.tl.predict(trained, LABELS, predictor=bare)


def test_genes_may_stand_in_another_order_or_among_others(trained, tmp_path):
    spm.tl.save_predictor(trained, tmp_path / "p")
    expected = spm.tl.predict(trained, LABELS)
    moved = trained[:, trained.var_names[::-1]].copy()
    found = spm.tl.predict(moved, LABELS, predictor=tmp_path / "p")
    assert list(found.var_names) == list(trained.var_names)
    assert np.array_equal(found.X, expected.X)
    more = ad.concat([trained, ad.AnnData(np.ones((trained.n_obs, 2)), obs=trained.obs[[]], var={"x": [1, 2]})], axis=1)
    more.var_names = [*trained.var_names, "EXTRA1", "EXTRA2"]
    assert np.array_equal(spm.tl.predict(more, LABELS, predictor=tmp_path / "p").X, expected.X)


def test_another_gene_set_is_refused_with_the_genes_that_lack(trained, tmp_path):
    spm.tl.save_predictor(trained, tmp_path / "p")
    other = trained[:, trained.var_names[3:]].copy()
    missing = sorted(trained.var_names[:3])
    for call in (
        lambda: spm.tl.predict(other, "GATA2"),
        lambda: spm.tl.load_predictor(other, tmp_path / "p", key_added="loaded"),
    ):
        with pytest.raises(ValueError, match=rf"trained on 40 genes; 3 of them are not.*{missing[0]}.*train again"):
            call()
    assert "loaded" not in other.uns


def test_a_predictor_from_elsewhere_says_which_genes_it_does_not_find_and_refuses_strangers(trained, tmp_path):
    spm.tl.save_predictor(trained, tmp_path / "p")
    some = trained[:, trained.var_names[3:]].copy()
    del some.uns["predictor"]
    for predictor in (tmp_path / "p", trained):
        with pytest.warns(UserWarning, match="3 of 40 genes"):
            found = spm.tl.predict(some, "GATA2", predictor=predictor)
        np.testing.assert_array_equal(found.layers["delta"], spm.tl.predict(trained, "GATA2").layers["delta"])
    few = trained[:, trained.var_names[30:]].copy()
    with pytest.raises(ValueError, match="30 of them are not in `adata`"):
        spm.tl.predict(few, "GATA2", predictor=trained)


def test_a_folder_is_replaced_only_when_asked_and_saving_changes_nothing(trained, tmp_path, everything_in):
    before = everything_in(trained)
    spm.tl.save_predictor(trained, tmp_path / "p")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        spm.tl.save_predictor(trained, tmp_path / "p")
    spm.tl.save_predictor(trained, tmp_path / "p", overwrite=True)
    assert everything_in(trained) == before


def test_what_is_not_there_is_named(screen, tmp_path):
    with pytest.raises(KeyError, match=r"spm\.tl\.train_predictor"):
        spm.tl.save_predictor(screen, tmp_path / "p")
    assert not (tmp_path / "p").exists()
    with pytest.raises(FileNotFoundError, match="save_predictor"):
        spm.tl.load_predictor(screen, tmp_path / "p")
    with pytest.raises(FileNotFoundError, match="save_predictor"):
        spm.tl.predict(screen, "GATA2", predictor=tmp_path / "p")


def test_a_loaded_predictor_keeps_its_name_and_survives_a_file(trained, tmp_path):
    spm.tl.save_predictor(trained, tmp_path / "p")
    spm.tl.load_predictor(trained, tmp_path / "p", key_added="loaded")
    trained.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    assert np.array_equal(spm.tl.predict(back, LABELS, key="loaded").X, spm.tl.predict(trained, LABELS).X)
    assert len(spm.pl.loss_curves(back, key="loaded")) == 2
