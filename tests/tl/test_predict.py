import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scperturbmamba as spm


def delta(predicted):
    return np.asarray(predicted.layers["delta"])


def test_a_label_gives_one_row_of_the_trained_genes(trained):
    predicted = spm.tl.predict(trained, "GATA2")
    assert list(predicted.obs_names) == ["GATA2"]
    assert list(predicted.var_names) == list(trained.var_names)
    assert list(predicted.obs) == [
        "perturbation", "context", "seen", "n_train_cells", "support", "measured", "nearest", "missing_sources",
        "expected_error",
    ]  # fmt: skip
    terms = {"control", "mean", "core", "residual", "delta"}
    assert predicted.X.dtype == np.float32 and set(predicted.layers) - {None} == terms | {"sd", "lower", "upper"}
    assert predicted.uns["predictor"]["params"] == trained.uns["predictor"]["params"]


@pytest.mark.parametrize("which", ["trained", "counted"])
def test_expression_is_control_plus_effect_and_not_negative(request, which, conditions_of):
    adata = request.getfixturevalue(which)
    predicted = spm.tl.predict(adata, conditions_of(adata, "train"))
    expected = np.maximum(predicted.layers["control"] + predicted.layers["delta"], 0)
    np.testing.assert_array_equal(predicted.X, expected)
    assert np.abs(delta(predicted)).min() > 0


def test_the_control_layer_is_the_mean_of_training_control_cells(trained, counted):
    for adata, context in ((trained, None), (counted, "cell_line")):
        predicted = spm.tl.predict(adata, ["GATA2", "KLF15"])
        chosen = adata.obs["is_control"] & (adata.obs["split"] == "train")
        for row, level in enumerate(predicted.obs["context"]):
            own = chosen if context is None else chosen & (adata.obs[context] == level)
            mean = adata.X[own.to_numpy()].toarray().astype(np.float64).mean(0)
            np.testing.assert_allclose(predicted.layers["control"][row], mean, atol=1e-5)


@pytest.mark.parametrize("which", ["trained", "counted"])
def test_the_control_is_the_control_exactly(request, which):
    predicted = spm.tl.predict(request.getfixturevalue(which), ["control", "GATA2"])
    control = predicted[predicted.obs["perturbation"] == "control"]
    assert not delta(control).any()
    np.testing.assert_array_equal(control.X, control.layers["control"])
    assert (control.obs["support"] == "seen").all()


def test_the_order_in_which_parts_are_written_is_of_no_account(trained):
    one, other = spm.tl.predict(trained, "KLF6+GATA2"), spm.tl.predict(trained, "GATA2+KLF6")
    assert list(one.obs_names) == list(other.obs_names) == ["GATA2+KLF6"]
    assert np.array_equal(one.X, other.X)


def test_a_list_is_predicted_in_its_order_as_one_by_one(trained):
    labels = ["KLF15", "GATA2+KLF16", "control", "MYC", "IRF7"]
    predicted = spm.tl.predict(trained, labels)
    assert list(predicted.obs["perturbation"]) == labels == list(predicted.obs_names)
    for label in labels:
        np.testing.assert_allclose(spm.tl.predict(trained, label).X[0], predicted[label].X[0], atol=1e-5)


def test_what_a_prediction_rests_on_is_told(trained, conditions_of):
    predicted = spm.tl.predict(trained, ["GATA2", "GATA2+GATA3", "KLF15", "IRF7+KLF15", "IRF5+KLF15", "control"])
    assert list(predicted.obs["support"]) == ["seen", "parts seen", "features", "features", "features", "seen"]
    cells = trained.obs[trained.obs["split"] == "train"]["perturbation"].value_counts()
    assert predicted.obs["n_train_cells"].tolist() == [cells["GATA2"], 0, 0, 0, 0, 0]
    assert predicted.obs["seen"].tolist() == [True, False, False, False, False, False]
    held_out = spm.tl.predict(trained, [*conditions_of(trained, "test"), *conditions_of(trained, "val")])
    assert not held_out.obs["seen"].any() and not held_out.obs["n_train_cells"].any()


def test_genes_that_were_never_perturbed_or_never_measured_have_effects_of_their_own(trained):
    assert {"TP53", "FOS"} <= set(trained.var_names) and not {"IRF7", "IRF5"} & set(trained.var_names)
    predicted = spm.tl.predict(trained, ["TP53", "FOS", "IRF7", "IRF5"])
    for one in range(4):
        for other in range(one):
            assert not np.allclose(delta(predicted)[one], delta(predicted)[other])


@pytest.mark.parametrize("alias", ["MARCH8", "marchf8"])
def test_an_alias_is_the_gene_it_means(trained, alias):
    expected = spm.tl.predict(trained, "MARCHF8+GATA2")
    found = spm.tl.predict(trained, f"{alias}+GATA2")
    assert list(found.obs_names) == list(expected.obs_names) == ["GATA2+MARCHF8"]
    assert np.array_equal(found.X, expected.X)


@pytest.mark.parametrize("version", ["", ".12"])
def test_an_ensembl_id_is_the_gene_that_var_gives_it_to(trained, version):
    name = trained.var.loc["TP53", "ensembl_id"] + version
    found = spm.tl.predict(trained, name)
    assert list(found.obs_names) == ["TP53"]
    assert np.array_equal(found.X, spm.tl.predict(trained, "TP53").X)


def test_a_gene_unknown_everywhere_is_predicted_with_a_warning(trained):
    with pytest.warns(UserWarning, match=r"nothing is known of \['NOWHERE1'\].*spm\.tl\.gene_features") as caught:
        predicted = spm.tl.predict(trained, ["NOWHERE1", "GATA2+NOWHERE1", "GATA2"])
    assert [one.filename for one in caught if "nothing is known" in str(one.message)] == [__file__]
    assert list(predicted.obs["support"]) == ["none", "none", "seen"]
    assert np.isfinite(predicted.X).all() and np.abs(delta(predicted)[0]).max() > 0


def test_known_genes_give_no_warning(trained):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        spm.tl.predict(trained, ["GATA2", "TP53", "IRF7", "control"])


def test_a_gene_described_after_training_is_told_by_its_features(trained, shared_screen):
    with pytest.warns(UserWarning, match="nothing is known"):
        before = spm.tl.predict(trained, ["LATE1", "LATE2"])
    np.testing.assert_allclose(delta(before)[0], delta(before)[1], atol=1e-6)
    row = shared_screen.uns["gene_sets"]["targets"].iloc[0]
    for source in ("identity", "position", "sets"):
        targets = trained.uns[f"gene_{source}"]["targets"]
        trained.uns[f"gene_{source}"]["targets"] = pd.concat([targets, targets.iloc[:1].set_axis(["LATE1"])])
    assert row.any()
    predicted = spm.tl.predict(trained, ["LATE1", "IRF5"])
    assert predicted.obs["support"].iloc[0] == "features"
    assert not np.allclose(delta(predicted)[0], delta(before)[0])


def test_without_a_context_every_context_is_predicted_in_turn(counted):
    both = spm.tl.predict(counted, ["GATA2", "TP53"])
    assert list(both.obs_names) == ["GATA2 | line_A", "TP53 | line_A", "GATA2 | line_B", "TP53 | line_B"]
    assert list(both.obs["context"]) == ["line_A", "line_A", "line_B", "line_B"]
    for level in ("line_A", "line_B"):
        one = spm.tl.predict(counted, ["GATA2", "TP53"], context=level)
        assert list(one.obs_names) == ["GATA2", "TP53"]
        np.testing.assert_allclose(one.X, both[both.obs["context"] == level].X, atol=1e-6)
    cells = counted.obs[(counted.obs["split"] == "train") & (counted.obs["perturbation"] == "GATA2")]
    expected = cells["cell_line"].value_counts()
    found = both.obs.set_index(["perturbation", "context"])["n_train_cells"]
    assert found["GATA2", "line_A"] == expected["line_A"] and found["GATA2", "line_B"] == expected["line_B"]


def test_sampled_cells_are_raw_counts_with_names_of_their_own(counted):
    cells = spm.tl.predict(counted, ["GATA2", "control"], n_cells=30)
    assert cells.shape == (2 * 2 * 30, 40) and cells.obs_names.is_unique
    assert cells.obs.groupby(["perturbation", "context"], observed=True).size().tolist() == [30] * 4
    assert (cells.X >= 0).all() and (cells.X == np.rint(cells.X)).all()
    profile = spm.tl.predict(counted, ["GATA2", "control"])
    np.testing.assert_array_equal(cells.layers["delta"][::30], profile.layers["delta"])
    again = spm.tl.predict(counted, ["GATA2", "control"], n_cells=30)
    other = spm.tl.predict(counted, ["GATA2", "control"], n_cells=30, random_state=1)
    assert np.array_equal(again.X, cells.X) and not np.array_equal(other.X, cells.X)


def test_sampled_control_cells_look_like_the_control_cells_of_the_screen(counted):
    sampled = spm.tl.predict(counted, "control", n_cells=2_000, context="line_B")
    chosen = counted.obs["is_control"] & (counted.obs["split"] == "train") & (counted.obs["cell_line"] == "line_B")
    measured = counted[chosen.to_numpy()].layers["counts"].toarray()
    assert np.corrcoef(np.log1p(sampled.X.mean(0)), np.log1p(measured.mean(0)))[0, 1] > 0.97
    share = sampled.X.mean(0).sum() / measured.mean(0).sum()
    assert share == pytest.approx(1, abs=0.25)
    assert np.corrcoef((sampled.X == 0).mean(0), (measured == 0).mean(0))[0, 1] > 0.9


def test_sampled_cells_move_as_the_predicted_effect_says(counted):
    counted.uns["predictor"]["checkpoint"]["arrays"]["speaker.net.head.bias"][:] = np.repeat([-1, 1], 20)
    profile = spm.tl.predict(counted, ["control", "GATA2"], context="line_A")
    cells = spm.tl.predict(counted, ["control", "GATA2"], n_cells=3_000, context="line_A").X.reshape(2, 3_000, 40)
    change = np.log(cells[1].mean(0)) - np.log(cells[0].mean(0))
    assert np.corrcoef(change, delta(profile)[1])[0, 1] > 0.9


@pytest.mark.parametrize(
    ("labels", "options", "error", "text"),
    [
        ([], {}, ValueError, "at least one perturbation"),
        ("GATA2", {"context": "line_C"}, ValueError, r"must be one of \['all'\].*'line_C'"),
        ("GATA2", {"key": "other"}, KeyError, "spm.tl.train_predictor"),
        ("GATA2", {"n_cells": 0}, ValueError, "n_cells"),
        ("GATA2", {"n_cells": 3}, ValueError, '"head": "nb"'),
    ],
)
def test_bad_requests_are_refused_with_the_remedy(trained, labels, options, error, text):
    with pytest.raises(error, match=text):
        spm.tl.predict(trained, labels, **options)


def test_half_a_cell_is_refused(counted):
    with pytest.raises(ValueError, match="n_cells"):
        spm.tl.predict(counted, "GATA2", n_cells=2.5)


def test_an_untrained_screen_is_told_what_to_run(screen):
    with pytest.raises(KeyError, match=r"spm\.tl\.train_predictor"):
        spm.tl.predict(screen, "GATA2")


def test_predicting_leaves_the_screen_as_it_was(counted, everything_in):
    before = everything_in(counted)
    spm.tl.predict(counted, ["GATA2", "MARCH8"])
    spm.tl.predict(counted, "GATA2", n_cells=5, context="line_A")
    assert everything_in(counted) == before


def test_predictions_come_back_from_a_file(counted, tmp_path, everything_in):
    for number, predicted in enumerate(
        [spm.tl.predict(counted, ["GATA2", "TP53"]), spm.tl.predict(counted, "GATA2", n_cells=3)]
    ):
        predicted.write_h5ad(tmp_path / f"{number}.h5ad")
        back = ad.read_h5ad(tmp_path / f"{number}.h5ad")
        assert list(back.obs_names) == list(predicted.obs_names)
        assert list(back.var_names) == list(predicted.var_names)
        np.testing.assert_array_equal(back.X, predicted.X)
        for name in predicted.layers:
            np.testing.assert_array_equal(back.layers[name], predicted.layers[name])
        pd.testing.assert_frame_equal(back.obs, predicted.obs)


def test_a_label_asked_for_twice_is_predicted_once(trained):
    predicted = spm.tl.predict(trained, ["GATA2", "KLF6+GATA2", "GATA2", "GATA2+KLF6"])
    assert list(predicted.obs_names) == ["GATA2", "GATA2+KLF6"]
