"""The knowledge core: it learns what features tell, and is the mean where they tell nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.knowledge import Knowledge


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
    speaks, made_of = core.report()
    assert speaks.startswith("knowledge is on (sets)") and "expected gain" in speaks and "±" in speaks
    assert made_of.startswith("the variance of") and "what all do" in made_of and "sets" in made_of


@pytest.fixture(scope="module")
def misled(world):
    """The core with the features of other genes, twenty times."""
    data = Bundle.from_adata(world, features=None)
    return [Knowledge(seed, shuffled=True).fit(data) for seed in range(20)]


def test_with_features_of_other_genes_nearly_every_component_is_shut(misled):
    opened = [np.mean(one.surface.belief.gate.opening > 0) for one in misled]
    assert np.mean(opened) <= 0.1
    shut = [one for one in misled if not one.surface.belief.gate.is_open]
    assert shut[0].report()[0].startswith("acts as the mean")
    assert not any(shut[0].surface.shape.shares[2:])


def test_features_of_other_genes_do_no_harm(misled, world):
    """Against what is expected of any perturbation: at most 0.1 % more squared error, on average."""
    held_out = world.obs.query("split == 'test' and n_parts == 1")["perturbation"].unique()
    asked = [Condition.parse(label).with_kind("CRISPRi") for label in held_out]
    truth = world.uns["toy"]["effects"].loc[list(held_out)].to_numpy()
    harm = []
    for one in misled:
        said, base = one.predict(asked), one.means(asked, 0)
        for row, condition in enumerate(asked):
            one.own.set(base[row], condition.parts[0], 0)
        harm.append(np.square(truth - said).sum() / np.square(truth - base).sum() - 1)
    assert np.mean(harm) <= 0.001


def test_a_source_that_tells_nothing_is_hardly_heard_beside_one_that_does(world):
    adata = world.copy()
    rng = np.random.default_rng(0)
    spm.tl.gene_features(adata, ["noise"], files={"noise": pd.DataFrame(rng.normal(size=(200, 8)), adata.var_names)})
    found = Knowledge().fit(Bundle.from_adata(adata, features=None))
    share = dict(zip(found.surface.scene.named(found.sources), found.surface.shape.shares[2:]))
    assert share["sets"] > 0.1 and share["noise"] < 0.2 * share["sets"]


def test_too_few_perturbations_teach_nothing(world):
    data = Bundle.from_adata(world, features=None)
    single = [row for row in data.training() if len(data.conditions[row].parts) == 1]
    for n in (0, 1, 2, 7):
        few = Knowledge().fit(data.take(np.array(single[:n] or [0], np.int64)) if n else without_singles(data))
        assert not few.surface.belief.gate.is_open
        (said,) = few.predict([Condition.of("NEW", kind="CRISPRi")])
        assert np.isfinite(said).all()
        np.testing.assert_allclose(said, few.means([Condition.of("NEW", kind="CRISPRi")], 0)[0], atol=1e-6)


def without_singles(data):
    return data.take(np.array([row for row in data.training() if len(data.conditions[row].parts) > 1]))


def test_of_combinations_alone_the_mean_is_theirs(world):
    data = without_singles(Bundle.from_adata(world, features=None))
    (said,) = Knowledge().fit(data).predict([Condition.of("NEW", kind="CRISPRi")])
    np.testing.assert_allclose(said, data.delta.mean(0), atol=1e-5)


def test_an_effect_of_few_cells_is_drawn_further(world):
    """Of two rows with the same numbers, the one of fewer cells is believed less."""
    data = Bundle.from_adata(world, features=())
    row = next(row for row in data.training() if len(data.conditions[row].parts) == 1)
    part = data.conditions[row].parts[0]
    gone = []
    for n in (5, 500):
        own = data.own_se.copy()
        own[row] *= np.sqrt(data.n_cells[row] / n)
        n_cells = np.where(np.arange(len(own)) == row, n, data.n_cells)
        found = Knowledge().fit(replace(data, own_se=own, se=own, n_cells=n_cells))
        gone.append(np.square(found.effects[0].alone[part] - data.delta[row]).mean())
    assert gone[0] > 2 * gone[1]


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
