"""The bare network, without a baseline under it, learns the toy world and beats the training mean on what is new.

A thousand cells per condition: at the forty of the default world the noise of the measured changes alone keeps a
perfect prediction below r = .8, at three hundred near .93, and a fit of .9 there would be noise learned by heart.
"""

import numpy as np
import pytest

import scperturbmamba as spm


def labelled_world(random_state):
    adata = spm.datasets.toy(cells_per_condition=1000, n_control=7000, random_state=random_state)
    sets = adata.uns["toy"]["gene_sets"]
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata)
    files = {"position": adata.uns["toy"]["outside"], "pathway": sets, "sets": sets}
    spm.tl.gene_features(adata, ["identity", "position", "pathway", "sets"], files=files)
    return adata


def measured_effects(adata, side):
    """Return conditions × genes: mean of the cells of a side minus the mean of its control cells."""
    on_side = adata[(adata.obs["split"] == side).to_numpy()]
    means = on_side.to_df().astype(np.float64).groupby(on_side.obs["perturbation"].astype(str)).mean()
    return means.drop(index="control") - means.loc["control"]


def pearson(one, other):
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(np.asarray(one), np.asarray(other))])


@pytest.mark.parametrize("seed", [301, 302, 303])
def test_the_network_fits_what_it_saw_and_beats_the_training_mean_on_what_it_did_not(seed):
    adata = labelled_world(seed)
    spm.tl.train_predictor(adata, net={"core": None}, random_state=seed)
    seen, unseen = measured_effects(adata, "train"), measured_effects(adata, "test")
    fitted, predicted = (spm.tl.predict(adata, list(table.index)).to_df(layer="delta") for table in (seen, unseen))
    mean = seen.mean()
    numbers = {
        "training r": pearson(seen, fitted),
        "MSE": float(((unseen - predicted) ** 2).to_numpy().mean()),
        "MSE of the mean": float(((unseen - mean) ** 2).to_numpy().mean()),
        "centred r": pearson(unseen - mean, predicted - mean),
        "epochs": adata.uns["predictor"]["report"]["best_epoch"],
    }
    print(f"seed {seed}: {numbers}")
    assert list(fitted.index) == list(seen.index) and list(predicted.index) == list(unseen.index)
    assert numbers["training r"] >= 0.9
    assert numbers["MSE"] < numbers["MSE of the mean"]
    assert numbers["centred r"] > 0  # the training mean says nothing of what is particular to a condition
