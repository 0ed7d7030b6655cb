import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp

import scperturbmamba as spm
from scperturbmamba import metrics

pytestmark = pytest.mark.filterwarnings("ignore:nothing is known of")  # a gene in no set


def means(adata):
    """Return the mean of each condition, a row per condition."""
    labels = adata.obs["perturbation"].astype(str)
    return pd.DataFrame(
        {label: np.asarray(adata.X[(labels == label).to_numpy()].mean(0)).ravel() for label in set(labels)}
    ).T


def control_cells(adata):
    return adata[adata.obs["perturbation"] == "control"]


def scores_of(prediction, truth, folder, **options):
    cell_eval = pytest.importorskip("cell_eval")
    names = {"control_pert": "control", "pert_col": "perturbation", "num_threads": 1, "outdir": str(folder)}
    evaluator = cell_eval.MetricsEvaluator(prediction.copy(), truth.copy(), **names, **options)
    skip = ["clustering_agreement", "pearson_edistance"]
    profile = "anndata" if options.get("skip_de") else "minimal"
    table, _ = evaluator.compute(profile=profile, skip_metrics=skip, write_csv=False, break_on_error=True)
    return table.to_pandas().set_index("perturbation")


def test_both_hold_the_same_genes_conditions_and_real_test_controls(counted, held_out):
    prediction, truth = spm.io.to_cell_eval(spm.tl.predict(counted, held_out(counted)), counted)
    assert list(prediction.var_names) == list(truth.var_names) == list(counted.var_names)
    assert set(prediction.obs["perturbation"]) == set(truth.obs["perturbation"]) == {"control", *held_out(counted)}
    for one in (prediction, truth):
        assert sp.isspmatrix_csr(one.X) and one.X.dtype == np.float32 and one.X.min() >= 0 and one.obs_names.is_unique
    chosen = (counted.obs["perturbation"] == "control") & (counted.obs["split"] == "test")
    expected = counted[chosen.to_numpy()]
    for one in (control_cells(prediction), control_cells(truth)):
        assert list(one.obs_names) == list(expected.obs_names)
        np.testing.assert_array_equal(one.X.toarray(), expected.X.toarray())
    np.testing.assert_array_equal(truth.X.toarray(), counted[truth.obs_names].X.toarray())
    assert (counted.obs.loc[truth.obs_names, "split"] == "test").all()


def test_made_cells_are_as_many_as_measured_and_have_the_mean_of_control_plus_effect(counted, held_out):
    predicted = spm.tl.predict(counted, held_out(counted))
    prediction, truth = spm.io.to_cell_eval(predicted, counted)
    sizes = [one.obs["perturbation"].value_counts().to_dict() for one in (prediction, truth)]
    assert sizes[0] == sizes[1]
    found = means(prediction)
    expected = np.maximum(found.loc["control"].to_numpy() + predicted.layers["delta"], 0)
    np.testing.assert_allclose(found.loc[predicted.obs_names], expected, atol=1e-5)


def test_cell_eval_finds_the_scores_that_we_find(counted, held_out, tmp_path):
    predicted = spm.tl.predict(counted, held_out(counted))
    spm.tl.evaluate(predicted, counted)
    prediction, truth = spm.io.to_cell_eval(predicted, counted)
    theirs = scores_of(prediction, truth, tmp_path, skip_de=True).loc[predicted.obs_names]
    made, real = means(prediction), means(truth)
    a, b = (one.loc[predicted.obs_names].to_numpy() for one in (real, made))
    np.testing.assert_allclose(theirs["mse"], metrics.mse(a, b), atol=1e-5)
    effects = a - real.loc["control"].to_numpy(), b - made.loc["control"].to_numpy()
    np.testing.assert_allclose(theirs["pearson_delta"], metrics.pearson(*effects), atol=1e-4)
    np.testing.assert_allclose(theirs["pearson_delta"], predicted.obs["pearson_delta"], atol=0.02)
    np.testing.assert_allclose(theirs["mse_delta"], metrics.mse(*effects), rtol=1e-3)


def test_sampled_cells_go_through_its_tests_of_single_genes(counted, singles, tmp_path):
    cells = spm.tl.predict(counted, singles(counted)[:2], n_cells=25)
    found = scores_of(*spm.io.to_cell_eval(cells, counted), tmp_path)
    assert set(found.index) == set(singles(counted)[:2])
    assert {"overlap_at_N", "precision_at_N", "de_nsig_counts_pred"} <= set(found)


def test_sampled_counts_are_scaled_to_ten_thousand_and_logged(counted, singles):
    cells = spm.tl.predict(counted, singles(counted)[:2], n_cells=6)
    prediction, _ = spm.io.to_cell_eval(cells, counted)
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    made = prediction[prediction.obs["perturbation"] != "control"]
    assert list(made.obs["perturbation"]) == list(cells.obs["perturbation"])
    np.testing.assert_allclose(made.X.toarray(), cells.X, atol=1e-4)


def test_counts_of_some_genes_are_scaled_to_what_control_cells_hold_of_them(counted, singles):
    cells = spm.tl.predict(counted, singles(counted)[:1], n_cells=6)[:, :20].copy()
    prediction, truth = spm.io.to_cell_eval(cells, counted)
    totals = [np.expm1(one.X.toarray()).sum(1) for one in (prediction, control_cells(truth))]
    assert np.median(totals[1]) < 9_000
    made = (prediction.obs["perturbation"] != "control").to_numpy()
    np.testing.assert_allclose(totals[0][made], np.median(totals[1]), rtol=1e-4)


def test_the_number_of_cells_can_be_set_and_the_seed_chooses_them(counted, singles):
    profiles = spm.tl.predict(counted, singles(counted)[:2])
    cells = spm.tl.predict(counted, singles(counted)[:2], n_cells=9)
    for predicted, n, found in ((profiles, 500, 500), (profiles, 3, 3), (cells, 4, 4), (cells, 50, 9)):
        one, same, other = (
            spm.io.to_cell_eval(predicted, counted, n_cells=n, random_state=seed)[0] for seed in (0, 0, 1)
        )
        assert one.obs["perturbation"].value_counts()[singles(counted)[:2]].tolist() == [found, found]
        assert (one.X != same.X).nnz == 0
        assert n == 50 or (one.X != other.X).nnz > 0
    with pytest.raises(ValueError, match="`n_cells` must be a whole number"):
        spm.io.to_cell_eval(profiles, counted, n_cells=2.5)


def test_each_context_is_compared_with_its_own_controls(contexts, singles):
    predicted = spm.tl.predict(contexts, singles(contexts)[:2])
    prediction, truth = spm.io.to_cell_eval(predicted, contexts)
    assert list(truth.obs["context"]) == list(contexts.obs.loc[truth.obs_names, "cell_line"])
    for level in ("line_A", "line_B"):
        found = means(prediction[prediction.obs["context"] == level])
        rows = predicted[predicted.obs["context"] == level]
        expected = np.maximum(found.loc["control"].to_numpy() + rows.layers["delta"], 0)
        np.testing.assert_allclose(found.loc[rows.obs["perturbation"].astype(str)], expected, atol=1e-5)


def test_without_a_split_all_cells_are_used(counted, singles):
    predicted = spm.tl.predict(counted, singles(counted))
    del counted.obs["split"]
    _, truth = spm.io.to_cell_eval(predicted, counted)
    used = counted.obs["perturbation"].isin([*predicted.obs_names, "control"])
    assert list(truth.obs_names) == list(counted.obs_names[used])


def test_the_split_of_the_training_is_the_default_and_another_can_be_named(screen):
    spm.pp.split_conditions(screen, random_state=3, key_added="fold")
    on_fold = screen.obs[(screen.obs["fold"] == "test") & ~screen.obs["is_control"]]
    labels = sorted(on_fold["perturbation"].astype(str).unique())
    theirs = spm.io.read_predictions(screen, spm.pp.pseudobulk(screen)[labels], key="fold")
    for options in ({}, {"key": "fold"}):
        _, truth = spm.io.to_cell_eval(theirs, screen, **options)
        assert set(screen.obs.loc[truth.obs_names, "fold"]) == {"test"}
    with pytest.raises(KeyError, match="split_conditions"):
        spm.io.to_cell_eval(theirs, screen, key="nowhere")


def test_what_was_not_measured_is_left_out_with_a_warning(counted, held_out):
    tested, trained = held_out(counted), held_out(counted, "train")
    predicted = spm.tl.predict(counted, [*tested, trained[0], "control"])
    with pytest.warns(UserWarning, match=f"1 of {len(tested) + 1} predictions have no cells on the side 'test'"):
        prediction, truth = spm.io.to_cell_eval(predicted, counted)
    assert set(prediction.obs["perturbation"]) == set(truth.obs["perturbation"]) == {*tested, "control"}
    with pytest.raises(ValueError, match=f"found none among 1, such as .'{trained[0]}'"):
        spm.io.to_cell_eval(predicted[[trained[0]]].copy(), counted)


def test_what_cell_eval_would_refuse_is_refused_first(counted, singles):
    predicted = spm.tl.predict(counted, singles(counted)[:2])
    scaled = counted.copy()
    scaled.X = scaled.X.toarray() - 0.5
    with pytest.raises(ValueError, match="not negative; found -0.5"):
        spm.io.to_cell_eval(predicted, scaled)
    with pytest.raises(ValueError, match="1 of 40 are missing"):
        spm.io.to_cell_eval(predicted, counted[:, 1:].copy())
    twice = predicted[[0, 0, 1]].copy()
    with pytest.raises(ValueError, match="several rows of one condition"):
        spm.io.to_cell_eval(twice, counted)
    predicted.layers["delta"][0, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        spm.io.to_cell_eval(predicted, counted)
    without = counted[(counted.obs["split"] != "test") | ~counted.obs["is_control"]].copy()
    with pytest.raises(ValueError, match="expected control cells on the side 'test'"):
        spm.io.to_cell_eval(spm.tl.predict(counted, singles(counted)[:2]), without)
