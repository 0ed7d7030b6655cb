"""A screen over drugs, doses and contexts is the predictions of all its labels in all its contexts."""

from itertools import product

import anndata
import numpy as np
import pytest

import scperturbmamba as spm
from scperturbmamba.models.trained import Trained
from scperturbmamba.tl import predict, screen

DOSES = [0.3, 10]

pytestmark = pytest.mark.filterwarnings("ignore:nothing is known of")  # plain genes in a screen of drugs


@pytest.fixture(scope="module")
def drugs():
    pytest.importorskip("rdkit")
    adata = spm.datasets.toy_drugs(n_genes=30, n_drugs=8, cells_per_condition=10)
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    spm.pp.normalize(adata)
    spm.tl.drug_features(adata, smiles={**_smiles(adata), "ethanol": "CCO"})
    spm.pp.split_conditions(adata, "dose")
    spm.tl.train_predictor(adata, preset="fast", context="cell_line")
    return adata


def _smiles(adata):
    treated = adata.obs[~adata.obs["is_control"]]
    return dict(zip(treated["drug"].astype(str), treated["smiles"].astype(str)))


def labels(adata):
    return list(adata.obs["perturbation"].astype(str))


def test_every_drug_is_predicted_at_every_dose_in_every_context(drugs):
    names = ["compound02", "compound01"]
    found = screen(drugs, names, doses=DOSES)
    asked = [f"{name}@{dose:g}" for name, dose in product(names, DOSES)]
    expected = predict(drugs, asked)
    assert list(found.obs_names) == list(expected.obs_names) and len(found) == 2 * 2 * 2
    np.testing.assert_allclose(found.X, expected.layers["delta"], atol=1e-5)
    assert list(found.obs["dose"]) == DOSES * 4
    assert list(found.obs["context"]) == ["line_A"] * 4 + ["line_B"] * 4


def test_the_default_with_doses_is_every_drug_trained_or_described(drugs):
    found = screen(drugs, doses=[1], context="line_A")
    assert sorted(labels(found)) == sorted([f"compound{n:02d}@1" for n in range(1, 9)] + ["ethanol@1"])


def test_genes_and_drugs_that_have_a_dose_are_not_multiplied(drugs):
    gene = str(drugs.var_names[0])
    found = screen(drugs, [gene, "compound01@3", "compound02"], doses=DOSES, context="line_A")
    assert labels(found) == [gene, "compound01@3", "compound02@0.3", "compound02@10"]
    np.testing.assert_array_equal(found.obs["dose"], [np.nan, 3, 0.3, 10])


def test_a_gene_beside_a_drug_is_kept_and_two_drugs_are_crossed(drugs):
    gene = str(drugs.var_names[0])
    beside = screen(drugs, f"{gene}+compound01", doses=[0, 2], context="line_A")
    assert sorted(labels(beside)) == sorted([gene, f"{gene}+compound01@2"])
    crossed = screen(drugs, "compound01+compound02", doses=[0, 2, 5], context="line_A")
    assert len(crossed) == 9 and {"control", "compound01@5", "compound01@2+compound02@5"} <= set(labels(crossed))
    assert np.isnan(crossed.obs["dose"].iloc[labels(crossed).index("compound01@2+compound02@5")])


def test_dose_zero_is_the_control_once(drugs):
    found = screen(drugs, ["compound01", "compound02"], doses=[0, 1, 1.0], context="line_A")
    assert labels(found) == ["control", "compound01@1", "compound02@1"]
    np.testing.assert_allclose(found.X[0], 0, atol=1e-6)
    assert np.isnan(found.obs["dose"].iloc[0])


def test_contexts_are_one_several_or_all_in_the_order_asked(drugs):
    both = screen(drugs, "compound01", doses=DOSES, context=["line_B", "line_A", "line_B"])
    assert list(both.obs["context"]) == ["line_B"] * 2 + ["line_A"] * 2
    everything = screen(drugs, "compound01", doses=DOSES)
    np.testing.assert_allclose(both[everything.obs_names].X, everything.X, atol=1e-6)
    one = screen(drugs, "compound01", doses=DOSES, context=["line_B"])
    np.testing.assert_allclose(one.X, both.X[:2], atol=1e-6)
    with pytest.raises(ValueError, match="found 'line_C'"):
        screen(drugs, "compound01", context=["line_A", "line_C"])


def test_an_interrupted_screen_over_contexts_goes_on_where_it_stopped(drugs, tmp_path, monkeypatch):
    out, real, asked = tmp_path / "screen.h5ad", Trained.predict, []

    def dying(self, conditions, *, context=0):
        asked.append((len(conditions), context))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(self, conditions, context=context)

    monkeypatch.setattr(Trained, "predict", dying)
    options = {"doses": [0.3, 1, 10], "context": ["line_B", "line_A"]}
    with pytest.raises(KeyboardInterrupt):
        screen(drugs, ["compound01"], out=out, **options)
    with pytest.raises(ValueError, match="part of another screen"):
        screen(drugs, ["compound01"], out=out, doses=[0.3, 1, 11], context=options["context"])
    with pytest.raises(ValueError, match="part of another screen"):
        screen(drugs, ["compound01"], out=out, doses=options["doses"], context=["line_A", "line_B"])
    screen(drugs, ["compound01"], out=out, **options).file.close()
    assert asked == [(3, 1), (3, 0), (3, 0)]  # the first context did not come again
    found, expected = anndata.read_h5ad(out), screen(drugs, ["compound01"], **options)
    np.testing.assert_array_equal(found.X, expected.X)
    np.testing.assert_array_equal(found.obs["dose"], expected.obs["dose"])


@pytest.mark.parametrize("doses", [[], [-1], [np.inf], [np.nan], ["much"], 5, "10", [[1, 2]]])
def test_doses_that_are_none_are_refused(drugs, doses):
    with pytest.raises(ValueError, match=r"`doses` must be one or more numbers.*found"):
        screen(drugs, "compound01", doses=doses)


def test_doses_without_a_drug_to_give_them_to_are_refused(drugs):
    with pytest.raises(ValueError, match=r"drugs that are asked for without a dose.*'compound01'"):
        screen(drugs, [str(drugs.var_names[0]), "compound01@3"], doses=[1])


def test_a_screen_of_genes_has_no_doses(trained):
    assert screen(trained, str(trained.var_names[0])).obs["dose"].isna().all()
