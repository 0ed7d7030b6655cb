import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scperturbmamba as spm


@pytest.fixture
def predicted():
    delta = np.array([[0.1, -3.0, 2.0], [0.0, 0.5, -0.5]], np.float32)
    obs = pd.DataFrame({"perturbation": ["TP53", "MYC+TP53"]}, index=["TP53", "MYC+TP53"])
    var = pd.DataFrame(index=["A", "B", "C"])
    adata = AnnData(np.ones((2, 3), np.float32), obs=obs, var=var, layers={"delta": delta, "other": -delta})
    scores = {"model": ["predicted", "mean"], "perturbation": "TP53", "metric": "mse", "value": [0.5, 1.0]}
    adata.uns["evaluation"] = {"scores": pd.DataFrame(scores, index=["0", "1"])}
    history = pd.DataFrame({"epoch": [1, 2], "val_loss": [1.0, 0.5]}, index=["0", "1"])
    adata.uns["predictor"] = {"history": history, "params": {}}
    return adata


def test_effects_are_listed_strongest_first_within_each_condition(predicted):
    table = spm.get.effects(predicted)
    assert list(table.columns) == ["perturbation", "gene", "delta"]
    assert table["perturbation"].tolist() == ["TP53"] * 3 + ["MYC+TP53"] * 3
    assert table["gene"].tolist() == ["B", "C", "A", "B", "C", "A"]
    np.testing.assert_allclose(table["delta"], [-3, 2, 0.1, 0.5, -0.5, 0], rtol=1e-6)
    assert list(table.index) == list(range(6))


def test_effects_are_those_of_the_conditions_and_the_layer_asked_for(predicted):
    one = spm.get.effects(predicted, "MYC+TP53", layer="other")
    assert one["gene"].tolist() == ["B", "C", "A"] and one["delta"].tolist() == [-0.5, 0.5, 0]
    assert spm.get.effects(predicted, ["MYC+TP53", "TP53"])["perturbation"].tolist()[0] == "MYC+TP53"


def test_effects_agree_with_the_layer_of_a_pseudobulk():
    adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    bulk = spm.pp.pseudobulk(adata)
    table = spm.get.effects(bulk).pivot(index="perturbation", columns="gene", values="delta")
    expected = bulk.to_df(layer="delta")
    np.testing.assert_array_equal(table.loc[expected.index, expected.columns], expected)


def test_scores_come_from_whichever_slot_is_there(predicted):
    pd.testing.assert_frame_equal(
        spm.get.scores(predicted), predicted.uns["evaluation"]["scores"].reset_index(drop=True)
    )
    predicted.uns["benchmark"] = {"scores": predicted.uns["evaluation"]["scores"].assign(seed=0)}
    assert "seed" not in spm.get.scores(predicted)
    assert "seed" in spm.get.scores(predicted, key="benchmark")
    del predicted.uns["evaluation"]
    assert "seed" in spm.get.scores(predicted)


def test_a_history_is_the_table_of_the_training(predicted):
    table = spm.get.history(predicted)
    assert table["epoch"].tolist() == [1, 2] and list(table.index) == [0, 1]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda a: spm.get.effects(a, "TP35"), "TP35"),
        (lambda a: spm.get.effects(a, layer="core"), "spm.tl.predict"),
        (lambda a: spm.get.scores(a, key="mine"), "spm.tl.evaluate"),
        (lambda a: spm.get.history(a, key="mine"), "spm.tl.train_predictor"),
    ],
)
def test_what_is_not_there_is_named_with_the_call_that_makes_it(predicted, call, text):
    with pytest.raises(KeyError, match=text):
        call(predicted)


def test_a_table_is_the_reader_s_own(predicted):
    spm.get.scores(predicted)["value"] = -1
    spm.get.history(predicted)["val_loss"] = -1
    spm.get.effects(predicted)["delta"] = -1
    assert (predicted.uns["evaluation"]["scores"]["value"] > 0).all()
    assert (predicted.uns["predictor"]["history"]["val_loss"] > 0).all()
    assert predicted.layers["delta"].max() == 2
