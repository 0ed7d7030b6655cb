"""The knowledge core: it learns what features tell, and is the mean where they tell nothing."""

import numpy as np
import pytest

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.gate import Gate
from scperturbmamba.models.kernels import Kernel, Member, members
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.stack import Stack


def kernel_and_effects(n=60, n_outputs=5, *, signal=1.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6))
    y = signal * x @ rng.normal(size=(6, n_outputs)) + rng.normal(size=(n, n_outputs))
    return Kernel.of(x), y - y.mean(0)


@pytest.mark.parametrize("option", [one for some in members(1, 60) for one in some], ids=str)
def test_what_is_left_out_is_what_a_model_without_that_row_says(option):
    kernel, y = kernel_and_effects()
    found = option.left_out(kernel, y)
    for row in (0, 17, 59):
        rest = np.setdiff1d(np.arange(60), [row])
        expected = option.predict(kernel.take(rest), kernel.take(np.array([row])), y[rest])
        np.testing.assert_allclose(found[row], expected[0], rtol=1e-8, atol=1e-10)


def test_a_stack_hears_the_kernel_that_tells_and_not_the_one_that_does_not():
    kernel, y = kernel_and_effects()
    other, _ = kernel_and_effects(seed=5)
    found = Stack.fit([kernel, other], y, np.ones(60), np.random.default_rng(0))
    assert found.is_open and found.gate.gain > 3 * found.gate.error
    weight = {number: sum(w for m, w in zip(found.members, found.weights) if m.kernel == number) for number in (0, 1)}
    assert weight[0] > 5 * weight[1]


def test_without_signal_the_gate_is_mostly_shut_and_does_little_harm():
    open_, harm = [], []
    for seed in range(20):
        kernel, y = kernel_and_effects(signal=0, seed=seed)
        found = Stack.fit([kernel], y, np.ones(60), np.random.default_rng(seed))
        fresh, _ = kernel_and_effects(signal=0, seed=seed + 100)
        said = found.predict([kernel], [fresh], y)
        truth = np.random.default_rng(seed + 200).normal(size=y.shape)
        harm.append(np.square(truth - said).sum() / np.square(truth).sum() - 1)
        open_.append(np.mean(found.gate.opening > 0))
    assert np.mean(open_) <= 0.1 and np.mean(harm) <= 0.001


def test_too_few_rows_teach_nothing():
    kernel, y = kernel_and_effects(7)
    assert not Stack.fit([kernel], y, np.ones(7), np.random.default_rng(0)).is_open


def test_a_closed_stack_says_nothing():
    kernel, y = kernel_and_effects()
    few = kernel.take(np.arange(3))
    shut = Stack((Member(0, "ridge", 1.0),), (1.0,), Gate.shut(5), np.zeros((0, 5)))
    assert not shut.predict([kernel], [few], y).any()
    assert Member(0, "ridge", 1.0).predict(kernel, few, y).shape == (3, 5)


def test_ridge_is_that_of_the_kernel():
    """The definition: the kernel of new and training rows, times the solution of (K + λ) a = y."""
    kernel, y = kernel_and_effects()
    new, _ = kernel_and_effects(8, seed=3)
    full = kernel.across(kernel)
    expected = new.across(kernel) @ np.linalg.solve(full + 0.3 * np.eye(60), y)
    np.testing.assert_allclose(Member(0, "ridge", 0.3).predict(kernel, new, y), expected, rtol=1e-9)
    mean = Kernel.mean([kernel, Kernel.of(kernel.vectors[:, ::-1] ** 2)])
    np.testing.assert_allclose(
        mean.across(mean), (full + Kernel.of(kernel.vectors**2).across(Kernel.of(kernel.vectors**2))) / 2, rtol=1e-9
    )


@pytest.fixture(scope="module")
def world():
    adata = spm.datasets.toy()
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata)
    spm.tl.gene_features(adata, ["sets"], files={"sets": adata.uns["toy"]["gene_sets"]})
    return adata


@pytest.fixture(scope="module")
def core(world):
    return Knowledge().fit(Bundle.from_adata(world, features=None))


def test_the_core_beats_the_mean_on_genes_never_perturbed(world):
    adata = world.copy()
    spm.tl.benchmark(adata, ["mean", "ridge", "knowledge"])
    summary = adata.uns["benchmark"]["summary"]
    assert summary.loc["knowledge", "mse"] < 0.85 * summary.loc["mean", "mse"]
    assert summary.loc["knowledge", "pearson_delta_centred"] > 0.25


def test_the_report_says_in_words_what_was_switched_on(core):
    (words,) = core.report()
    assert words.startswith("knowledge is on (sets") and "expected gain" in words and "±" in words


def test_with_features_of_other_genes_it_mostly_acts_as_the_mean(world):
    data = Bundle.from_adata(world, features=None)
    found = [Knowledge(seed, shuffled=True).fit(data) for seed in range(20)]
    shut = [one for one in found if not one.unseen[0].stack.is_open]
    assert len(shut) >= 18
    assert shut[0].report()[0].startswith("acts as the mean")
    held_out = world.obs.query("split == 'test' and n_parts == 1")["perturbation"].unique()
    asked = [Condition.parse(label).with_kind("CRISPRi") for label in held_out]
    truth = world.uns["toy"]["effects"].loc[list(held_out)].to_numpy()
    harm = []
    for one in found:
        said, mean = one.predict(asked), one.effects[0].mean
        base = np.array([mean.copy() for _ in asked])
        for row, condition in enumerate(asked):
            one.own.set(base[row], condition.parts[0], 0)
        harm.append(np.square(truth - said).sum() / np.square(truth - base).sum() - 1)
    assert np.mean(harm) <= 0.01


def test_the_own_change_of_a_target_is_learned_from_the_screen(core, world):
    assert 0.02 < core.own.ratio["CRISPRi"] < 0.3
    named = [name for name in world.var_names if name not in {p.name for p in core.effects[0].alone}][:5]
    for name in named:
        (found,) = core.predict([Condition.of(name, kind="CRISPRi")])
        column = list(world.var_names).index(name)
        before = np.expm1(core.own.control[0, column])
        if before > 0.1:
            after = np.expm1(core.own.control[0, column] + found[column])
            assert after / before == pytest.approx(core.own.ratio["CRISPRi"], rel=1e-3)


def test_combinations_are_sums_of_what_the_parts_do(core, world):
    label = next(one for one in world.uns["toy"]["effects"].index if "+" in one)
    parts = Condition.parse(label).with_kind("CRISPRi").parts
    both, *alone = core.predict([Condition(parts), *(Condition((part,)) for part in parts)])
    np.testing.assert_allclose(both, sum(alone), rtol=1e-5, atol=1e-6)
    assert not core.predict([Condition()]).any()


def test_a_gene_seen_only_beside_seen_genes_is_what_the_pair_leaves(world):
    """Of every toy double one single is taken away; what is left of the double tells of it."""
    adata = spm.datasets.toy(cells_per_condition=150, n_control=900, n_doubles=20, random_state=3)
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    truth = adata.uns["toy"]["effects"]
    pairs = [one for one in truth.index if "+" in one]
    hidden = sorted({one.split("+")[0] for one in pairs} - {one.split("+")[1] for one in pairs})
    rest = [one for one in truth.index if one not in hidden]
    spm.pp.split_conditions(adata, {"test": hidden, "val": rest[:2], "train": rest[2:]})
    data = Bundle.from_adata(adata, features=None)
    with_pairs = Knowledge().fit(data)
    found = with_pairs.doubles[0]
    asked = [Condition.of(name, kind="CRISPRi") for name in hidden]
    assert len(hidden) > 5 and all(one.parts[0] in found.estimate for one in asked)
    said = with_pairs.predict(asked)
    with_pairs.doubles = [type(found)({}, {})]
    without = with_pairs.predict(asked)
    errors = [np.square(truth.loc[hidden].to_numpy() - one).mean() for one in (said, without)]
    assert errors[0] < 0.8 * errors[1]
