import math
import random
import signal
from dataclasses import replace

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from lightning.pytorch.loggers import CSVLogger

from scperturbmamba.data.bundle_cells import Cells
from scperturbmamba.engine.config import TrainConfig
from scperturbmamba.engine.fit import train
from scperturbmamba.engine.keeper import Keeper
from scperturbmamba.engine.likelihood import nb_sample
from scperturbmamba.engine.schedule import by_decay, rate
from scperturbmamba.engine.task import Task, delta_of
from scperturbmamba.models.cell_statistics import cell_statistics

torch.set_num_threads(1)

N_GENES = 20


@pytest.fixture
def task(make_conditions):
    generator = torch.Generator().manual_seed(5)
    rows = 16
    return Task(
        conditions=make_conditions(rows, n_genes=N_GENES),
        labels=[f"GENE{number}" for number in range(rows)],
        delta=torch.randn(rows, N_GENES, generator=generator),
        train=torch.arange(12),
        val=torch.arange(12, 16),
        weight=torch.ones(rows),
    )


def config(**options):
    return TrainConfig(**{"epochs": 3, "batch_conditions": 4, "every_n_epochs": 1, "patience": 99, **options})


def weights(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


class At(lightning.Callback):
    """Calls a function at the start of an epoch."""

    def __init__(self, epoch, action):
        self.epoch, self.action = epoch, action

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            self.action(module)


def interrupt(module):
    raise KeyboardInterrupt


def correlation(net, task):
    effect = net(task.conditions)
    found, wanted = delta_of(effect, task, task.conditions.context), task.delta
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found.detach().numpy(), wanted.numpy())])


@pytest.mark.parametrize("mixer", ["mamba2", "lstm"])
def test_a_tiny_net_learns_eight_profiles_by_heart(make_network, task, mixer):
    eight = replace(task, train=torch.arange(8), val=torch.arange(0))
    net = make_network(N_GENES, width=16, mixer=mixer, identity_dropout=0.0)
    assert correlation(net, eight) < 0.5
    train(net, eight, config(epochs=200, batch_conditions=8, every_n_epochs=200, lr=2e-2), device="cpu")
    rows = replace(eight, conditions=eight.conditions[torch.arange(8)], delta=eight.delta[:8])
    assert correlation(net, rows) >= 0.95


@pytest.fixture
def count_task(task):
    """Counts around a rate of 20, whose log moves by the effects."""
    log_rate = torch.full((1, N_GENES), math.log(20.0))
    row = torch.arange(len(task.delta)).repeat_interleave(200)
    size = torch.tensor([0.5, 1.0, 1.5])[torch.arange(len(row)) % 3]
    mean = size[:, None] * torch.exp(log_rate + task.delta[row])
    counts = nb_sample(mean, torch.tensor(20.0), torch.Generator().manual_seed(0)).float()
    cells = Cells(sp.csr_matrix(counts.numpy()), size.numpy(), row.numpy())
    statistics = cell_statistics(cells, len(task.delta), np.arange(N_GENES))
    return replace(task, cells=statistics, log_rate=log_rate, to_delta=lambda shift, log_r, context: shift)


def test_a_tiny_net_learns_eight_profiles_from_counts(make_network, count_task):
    eight = replace(count_task, train=torch.arange(8), val=torch.arange(0))
    net = make_network(N_GENES, width=16, head="nb", identity_dropout=0.0)
    train(net, eight, config(epochs=150, batch_conditions=8, every_n_epochs=150, lr=1e-2), device="cpu")
    rows = replace(eight, conditions=eight.conditions[torch.arange(8)], delta=eight.delta[:8])
    assert correlation(net, rows) >= 0.95


def test_the_backbone_runs_once_per_condition_and_never_per_cell(make_network, count_task):
    net = make_network(N_GENES, head="nb")
    seen = []
    net.layers[0].register_forward_pre_hook(lambda module, args: seen.append(len(args[0])) if module.training else None)
    train(net, count_task, config(epochs=1, batch_conditions=5), device="cpu")
    assert seen == [5, 5, 2]


@pytest.mark.parametrize("head", ["linear", "nb"])
def test_the_same_seed_gives_the_same_numbers_whatever_was_drawn_before(make_network, count_task, task, head):
    found = []
    for seed, drawn in ((3, 0), (3, 50), (4, 0)):
        net = make_network(N_GENES, head=head, dropout=0.1)
        torch.rand(drawn)
        history = train(net, count_task if head == "nb" else task, config(), device="cpu", random_state=seed)
        found.append((weights(net), [row["val_loss"] for row in history.rows]))
    assert same(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    assert not same(found[0][0], found[2][0])


def test_training_leaves_the_random_state_of_the_session_alone(make_network, task):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    train(make_network(N_GENES, dropout=0.1), task, config(), device="cpu")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_with_the_batch_and_the_remedy(make_network, task, value):
    poisoned = task.delta.clone()
    poisoned[7, 3] = value
    with pytest.raises(RuntimeError, match=r"training loss became (nan|inf).*GENE7.*Lower the rate.*precision"):
        train(make_network(N_GENES), replace(task, delta=poisoned), config(), device="cpu")


def test_r2_is_against_the_training_mean_of_each_gene(make_network, task):
    net = make_network(N_GENES)
    history = train(net, task, config(epochs=4), device="cpu")
    row = history.rows[history.best_epoch - 1]
    assert row["epoch"] == history.best_epoch
    predicted, truth = net(task.conditions).shift.detach().double().numpy(), task.delta.double().numpy()
    centre = truth[:12].mean(0)
    for side, rows in (("train_r2", slice(0, 12)), ("val_r2", slice(12, 16))):
        residual = ((truth[rows] - predicted[rows]) ** 2).sum()
        assert row[side] == pytest.approx(1 - residual / ((truth[rows] - centre) ** 2).sum(), abs=1e-5)
    assert row["val_loss"] == pytest.approx(((truth[12:] - predicted[12:]) ** 2).mean(), rel=1e-5)


def test_predicting_the_training_mean_has_an_r2_of_zero(make_network, task):
    net = make_network(N_GENES, awake=False)
    with torch.no_grad():
        net.head.out.weight.zero_()
        net.head.bias.copy_(task.delta[:12].mean(0))
    history = train(net, task, config(epochs=1, lr=1e-12), device="cpu")
    assert history.rows[0]["val_r2"] == pytest.approx(0, abs=1e-5)
    assert history.rows[0]["train_r2"] == pytest.approx(0, abs=1e-5)


def test_errors_are_in_units_of_the_typical_effect(make_network, task):
    net = make_network(N_GENES, scale=2.0)
    history = train(net, task, config(epochs=1), device="cpu")
    error = (net(task.conditions[task.val]).shift - task.delta[task.val]).square().mean() / 4
    assert history.rows[0]["val_loss"] == pytest.approx(float(error.detach()), rel=1e-5)


@pytest.mark.parametrize(("epochs", "every", "expected"), [(7, 3, [3, 6, 7]), (4, 2, [2, 4]), (2, 5, [2])])
def test_validation_comes_every_so_many_epochs_and_at_the_end(make_network, task, epochs, every, expected):
    history = train(make_network(N_GENES), task, config(epochs=epochs, every_n_epochs=every), device="cpu")
    table = pd.DataFrame(history.rows)
    assert table["epoch"].tolist() == expected
    assert table["step"].tolist() == [3 * epoch for epoch in expected]
    assert (table["seconds"].diff().dropna() > 0).all()
    assert set(table) == {"epoch", "step", "train_loss", "val_loss", "train_r2", "val_r2", "lr", "seconds"}
    assert history.stopped == "epochs"


def test_without_validation_rows_training_rows_decide(make_network, task):
    alone = replace(task, val=torch.arange(0))
    history = train(make_network(N_GENES), alone, config(), device="cpu")
    assert history.best_epoch == 3
    assert "val_loss" not in history.rows[0] and "train_r2" in history.rows[0]


def test_training_ends_early_when_validation_gets_worse_and_the_best_weights_come_back(make_network, task):
    opposite = task.delta.clone()
    opposite[12:] = -opposite[:4]
    conditions = task.conditions[torch.cat([torch.arange(12), torch.arange(4)])]
    net, taken = make_network(N_GENES, identity_dropout=0.0), {}

    def take(epoch):
        return At(epoch, lambda module: taken.update({epoch: weights(module.averaged.module)}))

    hostile = replace(task, conditions=conditions, delta=opposite)
    history = train(
        net,
        hostile,
        config(epochs=60, patience=2, lr=1e-2),
        device="cpu",
        callbacks=[take(epoch) for epoch in range(60)],
    )
    assert history.stopped == "early"
    assert len(history.rows) == history.best_epoch + 2
    assert same(weights(net), taken[history.best_epoch])  # as they were at the start of the epoch that followed


def test_the_weights_kept_are_a_running_average_that_lets_go_of_the_start(make_network, task):
    class Recorder(lightning.Callback):
        seen, averaged = [], []

        def on_train_batch_end(self, trainer, module, *_):
            self.seen.append(module.net.head.bias.detach().clone())
            self.averaged.append(module.averaged.module.head.bias.detach().clone())

    recorder = Recorder()
    train(make_network(N_GENES), task, config(epochs=30, lr=1e-2), device="cpu", callbacks=[recorder])
    seen, averaged = torch.stack(recorder.seen), torch.stack(recorder.averaged)
    lagging = [(averaged[k] - seen[k]).norm() < (averaged[k] - seen[0]).norm() for k in range(10, len(seen))]
    assert all(lagging)
    assert float((averaged[1:] - averaged[:-1]).norm()) < float((seen[1:] - seen[:-1]).norm())


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupt_leaves_the_best_weights_so_far_and_no_exception(make_network, task, epoch):
    net, kept = make_network(N_GENES), {}
    handler = signal.getsignal(signal.SIGINT)

    def stop(module):
        kept.update(module.keeper.weights)
        with torch.no_grad():
            module.net.head.bias.add_(100)  # what happened since the last validation is dropped
        raise KeyboardInterrupt

    history = train(net, task, config(epochs=9), device="cpu", callbacks=[At(epoch, stop)])
    assert history.stopped == "interrupted"
    assert [row["epoch"] for row in history.rows] == list(range(1, epoch + 1))
    assert same(kept, weights(net)) and not net.training
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interrupt_before_the_first_validation_leaves_a_net_that_predicts(make_network, task):
    net = make_network(N_GENES)
    history = train(net, task, config(), device="cpu", callbacks=[At(0, interrupt)])
    assert history.rows == [] and history.stopped == "interrupted"
    assert net(task.conditions).shift.isfinite().all() and not net.training


def test_another_error_is_not_swallowed(make_network, task):
    def fail(module):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        train(make_network(N_GENES), task, config(), device="cpu", callbacks=[At(1, fail)])


def test_a_row_counts_by_its_weight(make_network, task):
    weight = torch.ones(16)
    weight[2] = 0
    ignored = task.delta.clone()
    ignored[2] += 100
    found = []
    for delta in (task.delta, ignored):
        net = make_network(N_GENES)
        train(net, replace(task, delta=delta, weight=weight), config(epochs=1), device="cpu")
        found.append(weights(net))
    assert same(*found)


def test_only_matrices_of_mixers_genes_and_head_decay(make_network):
    for mixer in ("mamba2", "lstm"):
        net = make_network(N_GENES, mixer=mixer, head="nb")
        name_of = {id(parameter): name for name, parameter in net.named_parameters()}
        free, decayed = ({name_of[id(one)] for one in group} for group in by_decay(net))
        assert free | decayed == set(name_of.values()) and not free & decayed
        per_layer = {
            "mamba2": ("mixer.in_proj.weight", "mixer.conv.weight", "mixer.out_proj.weight"),
            "lstm": tuple(f"mixer.lstm.weight_{way}_l0{back}" for way in ("ih", "hh") for back in ("", "_reverse")),
        }[mixer]
        assert decayed == {
            "genes.project.weight",
            "genes.baseline.weight",
            "genes.locus_mlp.0.weight",
            "genes.locus_mlp.2.weight",
            "head.out.weight",
            *(f"layers.{layer}.{name}" for layer in (0, 1) for name in per_layer),
        }


def test_decay_shrinks_what_it_may_and_spares_the_rest(make_network, task):
    still = replace(task, weight=torch.ones(16), delta=torch.zeros(16, N_GENES))
    net = make_network(N_GENES, awake=False)
    with torch.no_grad():
        net.head.out.weight.zero_()  # with a bias of zero nothing else has a gradient, and the error is zero
    before = weights(net)
    train(net, still, config(epochs=1, weight_decay=10.0, warmup=0.0), device="cpu")
    after = weights(net)
    assert float(after["layers.0.mixer.in_proj.weight"].norm() / before["layers.0.mixer.in_proj.weight"].norm()) < 0.97
    for name in (
        "condition.identity.weight",
        "genes.identity.weight",
        "layers.0.mixer.log_A",
        "condition.features.0.weight",
    ):
        assert torch.equal(after[name], before[name])


def test_the_rate_rises_and_then_falls_along_a_cosine():
    rates = [rate(step, 10, 100) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10] == 1 and rates[55] == pytest.approx(0.5) and rates[100] == pytest.approx(0)
    assert all(a > b for a, b in zip(rates[10:], rates[11:]))


def test_gradients_are_clipped(make_network, task):
    norms = []

    def look(optimizer, *_):
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.stack([grad.norm() for grad in grads]).norm()))

    class Watch(lightning.Callback):
        def on_train_start(self, trainer, module):
            trainer.optimizers[0].register_step_post_hook(look)

    loud = replace(task, delta=1_000 * task.delta)
    train(make_network(N_GENES), loud, config(epochs=1, clip=0.5), device="cpu", callbacks=[Watch()])
    assert norms and max(norms) <= 0.5001


@pytest.mark.parametrize("head", ["linear", "nb"])
def test_mixed_precision_trains_to_nearly_the_same(make_network, count_task, task, head):
    chosen = count_task if head == "nb" else task
    found = []
    for precision in ("32-true", "bf16-mixed"):
        net = make_network(N_GENES, head=head)
        found.append(train(net, chosen, config(precision=precision), device="cpu").rows[-1]["val_loss"])
        assert {one.dtype for one in net.parameters()} == {torch.float32}
    assert found[0] != found[1]
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_a_lightning_logger_receives_what_the_history_holds(make_network, task, tmp_path):
    logger = CSVLogger(tmp_path, name="run", version=0)
    history = train(make_network(N_GENES), task, config(logger=logger), device="cpu")
    logged = pd.read_csv(tmp_path / "run" / "version_0" / "metrics.csv")
    table = pd.DataFrame(history.rows)
    for name in ("train_loss", "val_loss", "train_r2", "val_r2"):
        np.testing.assert_allclose(logged[name].dropna(), table[name], rtol=1e-5)


def test_training_writes_no_file_where_it_is_not_asked_to(make_network, task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(make_network(N_GENES), task, config(), device="cpu")
    assert list(tmp_path.iterdir()) == []


# the keeper


def keeper_after(*losses):
    keeper, net, kept = Keeper(), torch.nn.Linear(1, 1, bias=False), []
    for number, one in enumerate(losses):
        with torch.no_grad():
            net.weight.fill_(float(number))
        kept.append(keeper.keep(torch.tensor(one, dtype=torch.float64), net))
    return keeper, kept


def test_the_first_and_every_better_epoch_is_kept():
    keeper, kept = keeper_after([3, 4], [2, 3], [1, 1])
    assert kept == [True] * 3 and keeper.waited == 0
    assert float(keeper.weights["weight"]) == 2


def test_an_epoch_that_is_not_clearly_worse_is_kept_and_the_best_stays_the_measure():
    keeper, kept = keeper_after([1.0, 1.0, 1.0], [0.5, 1.3, 1.3])  # + 0.033, standard error 0.27
    assert kept == [True, True]
    assert float(keeper.weights["weight"]) == 1
    assert keeper.best.tolist() == [1.0, 1.0, 1.0]


def test_one_standard_error_of_the_paired_difference_is_the_border():
    best = [1.0, 2.0, 3.0, 4.0]
    difference = np.array([-1.0, 1.0, -1.0, 1.0])
    error = difference.std(ddof=1) / 2
    for extra, expected in ((0.99 * error, True), (1.01 * error, False)):
        _, kept = keeper_after(best, list(np.array(best) + difference + extra))
        assert kept[-1] is expected


def test_rows_that_all_get_worse_a_little_are_clearly_worse():
    keeper, kept = keeper_after([1.0, 5.0, 9.0], [1.01, 5.01, 9.02])
    assert kept == [True, False] and keeper.waited == 1
    assert float(keeper.weights["weight"]) == 0


def test_waiting_starts_anew_after_an_epoch_that_will_do():
    keeper, kept = keeper_after([1.0, 1.0], [2.0, 2.1], [3.0, 3.1], [0.9, 1.0], [2.0, 2.0])
    assert kept == [True, False, False, True, False]
    assert keeper.waited == 1


def test_with_one_row_any_loss_above_the_best_is_worse():
    assert keeper_after([1.0], [1.001], [0.5])[1] == [True, False, True]


@pytest.mark.parametrize("first", [True, False])
def test_weights_whose_loss_is_no_number_are_never_kept(first):
    losses = [[math.nan, 1.0], [2.0, 2.0]] if first else [[2.0, 2.0], [math.nan, 1.0], [math.inf, 1.0]]
    keeper, kept = keeper_after(*losses)
    assert kept == ([False, True] if first else [True, False, False])
    assert keeper.best.tolist() == [2.0, 2.0]
    assert float(keeper.weights["weight"]) == (1 if first else 0)


# a folder keeps the state of a training


@pytest.mark.parametrize("head", ["linear", "nb"])
def test_a_training_that_was_cut_off_goes_on_as_if_nothing_had_happened(make_network, count_task, task, tmp_path, head):
    chosen = count_task if head == "nb" else task
    whole = make_network(N_GENES, head=head, dropout=0.1)
    expected = train(whole, chosen, config(epochs=7, every_n_epochs=2), device="cpu")
    kept = config(epochs=7, every_n_epochs=2, folder=str(tmp_path))

    def die(module):
        raise OSError("power failure")

    with pytest.raises(OSError, match="power failure"):
        train(make_network(N_GENES, head=head, dropout=0.1), chosen, kept, device="cpu", callbacks=[At(5, die)])
    net, begun = make_network(N_GENES, head=head, dropout=0.1, seed=9), []
    watch = [At(epoch, lambda module: begun.append(module.current_epoch)) for epoch in range(7)]
    torch.rand(17)
    history = train(net, chosen, kept, device="cpu", callbacks=watch)
    assert begun == [4, 5, 6]
    assert same(weights(net), weights(whole))
    assert history.best_epoch == expected.best_epoch and history.stopped == "epochs"
    drop = {"seconds"}
    for row, other in zip(history.rows, expected.rows, strict=True):
        assert {k: v for k, v in row.items() if k not in drop} == {k: v for k, v in other.items() if k not in drop}


@pytest.mark.parametrize("what", ["delta", "config", "seed", "net"])
def test_the_state_of_another_training_is_refused_with_the_remedy(make_network, task, tmp_path, what):
    kept = config(folder=str(tmp_path))
    train(make_network(N_GENES), task, kept, device="cpu")
    other, seed, layers = task, 0, 2
    if what == "delta":
        other = replace(task, delta=task.delta + 1)
    elif what == "config":
        kept = config(folder=str(tmp_path), lr=1e-4)
    elif what == "seed":
        seed = 1
    else:
        layers = 3
    with pytest.raises(ValueError, match=r"other data or settings.*folder"):
        train(make_network(N_GENES, layers=layers), other, kept, device="cpu", random_state=seed)
