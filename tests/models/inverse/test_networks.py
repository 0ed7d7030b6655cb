"""The networks on the toy world, whose effects are known: they learn what can be seen, and nothing from labels."""

import json

import numpy as np
import pytest

import scperturbmamba as spm
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.inverse_data import InverseData
from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.models.checkpoint import Checkpoint
from scperturbmamba.models.inverse.networks import InverseNetwork

KINDS = ("mlp", "attention", "multihead", "cross_attention", "graph_attention", "bimamba")
N_SINGLES = 10
QUICK = {"width": 32, "state": 4, "queries": 4, "epochs": 12, "units": 512, "batch_size": 64, "lr": 5e-3}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def cells():
    """Return expression, labels and batches of 10 single perturbations of measured genes."""
    adata = spm.datasets.toy(
        n_genes=60, n_singles=N_SINGLES, n_doubles=4, n_outside=0, cells_per_condition=110, n_control=300
    )
    label = adata.obs["condition"].astype(object)
    adata = adata[label.notna() & (label != "multiplet")].copy()
    counts = adata.X.toarray()
    x = np.log1p(counts / counts.sum(1, keepdims=True) * np.median(counts.sum(1)))
    return x.astype(np.float32), adata.obs["condition"].astype(str).to_numpy(), tuple(adata.var_names)


def inverse_data(cells, *, labels=None, val=0.0):
    """Return control cells and singles."""
    x, true, genes = cells
    single = np.array(["+" not in one for one in true])
    given = (true if labels is None else labels)[single]
    names = sorted(set(given) - {"control"})
    conditions = tuple(Condition.parse(name) for name in ("control", *names))
    code = np.array([("control", *names).index(one) for one in given])
    return InverseData(
        genes=genes,
        x=x[single],
        condition=code,
        conditions=conditions,
        candidates=tuple(one.parts[0] for one in conditions[1:]),
        batch=np.zeros(len(code), np.int64),
        is_val=np.random.default_rng(0).random(len(code)) < val,
    )


def halves(cells):
    """Return training data of half of the cells, and means of 10 of the other cells with their true candidates."""
    data = inverse_data(cells, val=0.5)
    train = data.take(~data.is_val)
    x, truth = [], []
    for one in range(1, len(data.conditions)):
        rows = np.flatnonzero(data.is_val & (data.condition == one))
        for start in range(0, len(rows) - 9, 10):
            x.append(data.x[rows[start : start + 10]].mean(0))
            truth.append(one - 1)
    return train, np.array(x), np.array(truth)


def accuracy(model, x, truth):
    return float((model.scores(x, np.full(len(x), 10)).argmax(1) == truth).mean())


@every_kind
def test_held_out_cells_are_told_far_better_than_by_chance(cells, kind):
    train, x, truth = halves(cells)
    model = InverseNetwork(InverseConfig(kind=kind, **QUICK), device="cpu").fit(train)
    assert accuracy(model, x, truth) > 0.5


@every_kind
def test_with_permuted_labels_held_out_cells_are_told_no_better_than_by_chance(cells, kind):
    """The profiles of a condition share their fate: of 30 fates of 1 in 10, 8 or more are good 1 time in 100."""
    train, x, truth = halves(cells)
    config = InverseConfig(kind=kind, **{**QUICK, "epochs": 4})
    found = []
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(train.condition)
        model = InverseNetwork(config, device="cpu").fit(InverseData(**{**vars(train), "condition": shuffled}))
        found.append(accuracy(model, x, truth))
    assert np.mean(found) < 0.27


def test_after_validation_a_network_learns_from_all_cells_for_as_many_epochs_as_were_kept(cells):
    data, config = inverse_data(cells, val=0.3), InverseConfig(kind="mlp", **QUICK)
    first = InverseNetwork(config, device="cpu").fit(data)
    again = first.refitted(data)
    whole = InverseData(**{**vars(data), "is_val": np.zeros(len(data.x), dtype=bool)})
    epochs = first.history.best_epoch
    fresh = InverseNetwork(config.model_copy(update={"epochs": epochs}), device="cpu").fit(whole)
    x, n_cells = data.x[:50], np.ones(50, np.int64)
    np.testing.assert_array_equal(again.scores(x, n_cells), fresh.scores(x, n_cells))
    assert again.config == config
    assert again.history == first.history
    assert not np.array_equal(again.scores(x, n_cells), first.scores(x, n_cells))


def test_control_profiles_are_called_nothing_and_doubles_their_parts(cells):
    x, labels, _ = cells
    data = inverse_data(cells)
    model = InverseNetwork(InverseConfig(**QUICK), device="cpu").fit(data)
    control = x[labels == "control"][:200].reshape(10, 20, x.shape[1]).mean(1)
    assert (model.scores(control, np.full(10, 20)) > 0).mean() < 0.05
    doubles = sorted({one for one in labels if "+" in one})
    means = np.stack([x[labels == one].mean(0) for one in doubles])
    scores = model.scores(means, np.array([(labels == one).sum() for one in doubles]))
    names = np.array([part.name for part in data.candidates])
    hits = [set(names[np.argsort(-row)[:2]]) & set(one.split("+")) for row, one in zip(scores, doubles)]
    assert all(hits)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(cells):
    data = inverse_data(cells, val=0.2)
    config = InverseConfig(**{**QUICK, "epochs": 2})
    one, same, other = (
        InverseNetwork(config, random_state=seed, device="cpu").fit(data).scores(data.x[:5], np.ones(5, int))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


@every_kind
def test_a_state_comes_back_with_the_same_scores(cells, kind):
    data = inverse_data(cells, val=0.2)
    config = InverseConfig(kind=kind, **{**QUICK, "epochs": 2, "every_n_epochs": 1})
    model = InverseNetwork(config, device="cpu").fit(data)
    state = model.state()
    described = json.dumps(json.loads(state.description))
    back = InverseNetwork.from_state(Checkpoint(described, {name: one.copy() for name, one in state.arrays.items()}))
    x, n_cells = data.x[:20], np.arange(1, 21)
    np.testing.assert_array_equal(back.scores(x, n_cells), model.scores(x, n_cells))
    assert back.history.rows == model.history.rows
    assert {"train_loss", "train_f1", "val_loss", "val_f1"} <= set(model.history.rows[0])


def test_training_leaves_the_global_seed_and_the_data_as_they_were(cells):
    import torch

    data = inverse_data(cells, val=0.2)
    before, state = data.x.copy(), torch.random.get_rng_state()
    InverseNetwork(InverseConfig(**{**QUICK, "epochs": 1}), device="cpu").fit(data)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(data.x, before)
