"""What we predict goes into pertpy as it is: distances between conditions, signatures of cells."""

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

import scperturbmamba as spm

pertpy = pytest.importorskip("pertpy", exc_type=ImportError)  # it may be there and not load


@pytest.fixture
def held_out(counted, conditions_of):
    return conditions_of(counted, "test")


@pytest.fixture
def cells(counted, held_out):
    """Cells drawn from the negative binomial, those of the control included, log-normalised."""
    drawn = spm.tl.predict(counted, ["control", *held_out], n_cells=30)
    spm.pp.normalize(drawn)
    sc.pp.pca(drawn, n_comps=5)
    return drawn


def test_distances_between_drawn_conditions(cells, held_out):
    distance = pertpy.tools.Distance("edistance", obsm_key="X_pca")
    table = distance.pairwise(cells, groupby="perturbation", show_progressbar=False)
    assert set(table.index) == {"control", *held_out}
    np.testing.assert_allclose(table, table.T, atol=1e-5)
    np.testing.assert_allclose(np.diag(table.loc[table.index, table.index]), 0, atol=1e-5)
    one_sided = distance.onesided_distances(
        cells, groupby="perturbation", selected_group="control", show_progressbar=False
    )
    np.testing.assert_allclose(one_sided[table.index], table.loc["control"], atol=1e-5)


def test_a_signature_of_cells_made_from_a_profile_is_its_effect_with_the_sign_turned(counted, held_out):
    predicted = spm.tl.predict(counted, held_out)
    prediction, _ = spm.io.to_cell_eval(predicted, counted)
    prediction.X = prediction.X.toarray()  # pertpy 1.0.3 cannot split sparse cells
    pertpy.tools.Mixscape().perturbation_signature(
        prediction, "perturbation", "control", ref_selection_mode="split_by", split_by="context"
    )
    for place, (_, row) in enumerate(predicted.obs.iterrows()):
        label, level = prediction.obs["perturbation"], prediction.obs["context"] == row["context"]
        control = prediction.X[(level & (label == "control")).to_numpy()].mean(0)
        found = prediction.layers["X_pert"][(level & (label == row["perturbation"])).to_numpy()].mean(0)
        expected = np.minimum(-predicted.layers["delta"][place], control)  # no gene falls below zero
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_signature_against_the_nearest_controls_takes_sparse_cells(counted, held_out):
    prediction, _ = spm.io.to_cell_eval(spm.tl.predict(counted, held_out, n_cells=20), counted)
    pertpy.tools.Mixscape().perturbation_signature(prediction, "perturbation", "control", n_neighbors=5)
    assert prediction.layers["X_pert"].shape == prediction.shape


@pytest.mark.parametrize("metric", ["mse", "pearson_distance", "edistance", "sym_kldiv", "wasserstein"])
def test_predicted_cells_beside_measured_ones_as_scperturbench_compares_them(counted, held_out, metric):
    prediction, truth = spm.io.to_cell_eval(spm.tl.predict(counted, held_out, n_cells=20), counted)
    both = ad.concat({"imputed": prediction, "stimulated": truth}, label="Expcategory", index_unique="-")
    both.obs["Expcategory"] = both.obs["Expcategory"].astype(str).mask(both.obs["perturbation"] == "control", "control")
    sc.pp.pca(both, n_comps=5)
    distance = pertpy.tools.Distance(metric, obsm_key="X_pca")
    options = {"groupby": "Expcategory", "selected_group": "imputed", "show_progressbar": False}
    found = distance.onesided_distances(both, groups=["stimulated", "control"], **options)
    assert np.isfinite(found[["stimulated", "control"]]).all() and (found[["stimulated", "control"]] > 0).all()
