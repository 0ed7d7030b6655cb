"""The residual: what a network adds to the core for genes never perturbed, judged on genes left out."""

from dataclasses import replace

import numpy as np
import pytest

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.models.core_residual import CoreAndResidual
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.residual import FEWEST, Residual, residual_config, short
from scperturbmamba.models.residual_inputs import importance

SMALL = {"width": 16, "head_width": 8, "state": 8, "layers": 1, "identity_width": 4, "position_width": 2}
TRAIN = TrainConfig(epochs=40, seeds=1, folds=2, lr=1e-2)


@pytest.fixture(scope="module")
def bundle():
    """Sixty measured genes, each perturbed alone."""
    adata = spm.datasets.toy(n_genes=60, n_singles=60, n_doubles=4, n_outside=0, cells_per_condition=6)
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata, test_size=0.2)
    files = {"sets": adata.uns["toy"]["gene_sets"], "position": adata.uns["toy"]["outside"]}
    spm.tl.gene_features(adata, ["position", "sets"], files=files)
    return Bundle.from_adata(adata, features=None)


def with_effects(bundle, truth, noise=0.2, seed=0):
    """Return the bundle with effects (genes × genes) of every gene alone, and noise."""
    rng = np.random.default_rng(seed)
    place = {gene: number for number, gene in enumerate(bundle.genes)}
    rows = np.array([sum(truth[place[part.name]] for part in one.parts) for one in bundle.conditions])
    delta = rows + noise * rng.normal(size=rows.shape)
    se = np.full_like(delta, noise, dtype=np.float32)
    return replace(bundle, delta=delta.astype(np.float32), se=se, own_se=None, controls=None)


def beside(bundle, order):
    """Return effects on the two genes beside the perturbed one in an order of genes."""
    truth = np.zeros((len(order), len(order)))
    for left, right in zip(order[:-1], order[1:]):
        truth[left, right] = truth[right, left] = -2
    return truth


def fit(bundle, mixer="mamba2", **training):
    core, frame = Knowledge().fit(bundle), Frame.of(bundle)
    net = residual_config(NetConfig(mixer=mixer, **SMALL), len(bundle.genes))
    return Residual(net, TRAIN.model_copy(update=training)).fit(bundle, core, frame), core


def new_parts(bundle):
    seen = {part for row in bundle.training() for part in bundle.conditions[row].parts}
    names = sorted(set(bundle.genes) - {part.name for part in seen})
    return [Condition.of(name, kind="CRISPRi").parts[0] for name in names]


@pytest.fixture(scope="module")
def local(bundle):
    """A world in which a perturbed gene moves its neighbours on the chromosome, and nothing else."""
    truth = beside(bundle, Frame.of(bundle).encoder.order)
    return with_effects(bundle, truth), truth


@pytest.fixture(scope="module")
def learned(local):
    return fit(local[0])


def test_a_sequence_learns_what_happens_beside_the_perturbed_gene(local, learned):
    data, truth = local
    residual, core = learned
    assert residual.gate.is_open and residual.gate.gain > 3 * residual.gate.error
    parts = new_parts(data)
    place = {gene: number for number, gene in enumerate(data.genes)}
    wanted = truth[[place[part.name] for part in parts]]
    base = core.predict([Condition((part,)) for part in parts])
    said, _ = residual.say(parts, core, 0)
    assert np.square(wanted - base - said).sum() < 0.8 * np.square(wanted - base).sum()
    assert "the BiMamba residual is on" in residual.words()


def test_where_no_gene_hears_of_another_nothing_of_it_is_learned(local, learned):
    alone, _ = fit(local[0], mixer="mlp")
    assert learned[0].gate.gain > alone.gate.gain + 2 * (learned[0].gate.error + alone.gate.error)


def test_noise_teaches_nothing_and_does_no_harm(bundle):
    """Twenty worlds in which every gene does the same: the gate stays shut, or what passes is next to nothing."""
    opened, harm = [], []
    truth = np.tile(np.random.default_rng(7).normal(size=60), (60, 1))
    for seed in range(20):
        data = with_effects(bundle, truth, noise=1.0, seed=seed)
        residual, core = fit(data, mixer="mlp", epochs=3)
        parts = new_parts(data)
        said, _ = residual.say(parts, core, 0)
        left = truth[0] + np.random.default_rng(100 + seed).normal(size=said.shape)
        left = left - core.predict([Condition((part,)) for part in parts])
        opened.append(np.mean(residual.gate.opening > 0))
        harm.append(np.square(left - said).sum() / np.square(left).sum() - 1)
    assert np.mean(opened) <= 0.1
    assert np.mean(harm) <= 0.001


def test_a_shut_gate_tells_what_the_network_would_have_cost(bundle):
    data = with_effects(bundle, np.zeros((60, 60)), noise=1.0, seed=3)
    residual, core = fit(data, mixer="mlp")
    assert not residual.gate.is_open and residual.gate.score < 0
    assert f"ungated {residual.gate.score:+.1%}" in residual.words() and "is off" in residual.words()
    assert not residual.say(new_parts(data), core, 0)[0].any()


def test_few_perturbations_train_no_network(bundle):
    singles = [row for row in bundle.training() if len(bundle.conditions[row].parts) == 1]
    few = bundle.take(np.array(singles[: FEWEST - 1]))
    residual, core = fit(few)
    assert residual.networks == [] and "no network was trained" in residual.words()
    assert not residual.say(new_parts(few), core, 0)[0].any()


def test_before_training_a_network_says_nothing(local):
    data, _ = local
    residual, core = fit(data, mixer="mlp", epochs=1, lr=1e-12)
    assert np.abs(residual._effects(residual.networks[0], new_parts(data), core, 0)).max() < 1e-6


def test_the_terms_add_up_and_seen_genes_have_no_residual(local, learned):
    data, _ = local
    speaker = CoreAndResidual(Frame.of(data), learned[1], learned[0])
    speaker.uncertainty = CoreAndResidual.fit(data, Frame.of(data), None).uncertainty
    new = Condition(tuple(new_parts(data)[:1]))
    seen = next(data.conditions[row] for row in data.training() if len(data.conditions[row].parts) == 1)
    terms = speaker.terms([Condition(), seen, new, Condition((*seen.parts, *new.parts))], 0)
    np.testing.assert_allclose(terms.delta, terms.mean + terms.core + terms.residual, atol=1e-6)
    assert not terms.delta[0].any() and not terms.residual[1].any() and terms.residual[2].any()
    np.testing.assert_array_equal(terms.residual[3], terms.residual[2])  # a sum over the new parts
    np.testing.assert_allclose(terms.delta[3], terms.delta[1] + terms.delta[2], atol=1e-5)


def test_the_same_seed_gives_the_same_residual_and_a_state_comes_back(local):
    data, _ = local
    one, core = fit(data, mixer="mlp", epochs=4)
    other, _ = fit(data, mixer="mlp", epochs=4)
    parts = new_parts(data)
    np.testing.assert_array_equal(one.say(parts, core, 0)[0], other.say(parts, core, 0)[0])
    back = Residual.from_state(one.frame, *one.state())
    for said, wanted in zip(back.say(parts, core, 0), one.say(parts, core, 0)):
        np.testing.assert_array_equal(said, wanted)


def test_what_counts_for_more_does_so_for_a_gene_and_not_for_an_entry(bundle):
    weight = importance(bundle)
    assert (weight == weight[0]).all() and weight.min() >= 0.5 - 1e-6
    assert importance(replace(bundle, se=np.full_like(bundle.se, np.nan))).max() == 1


def test_many_genes_share_tokens_and_many_rows_make_few_epochs():
    assert residual_config(NetConfig(), 5000).patch == 8 and residual_config(NetConfig(), 500).patch == 1
    assert residual_config(NetConfig(patch=2), 5000).patch == 2
    assert (
        residual_config(NetConfig(width=64, head_width=16), 100).width,
        residual_config(NetConfig(), 100).memory,
    ) == (64, 0)
    assert short(TrainConfig(), 2000).epochs * 125 >= 300 > (short(TrainConfig(), 2000).epochs - 1) * 125
    assert short(TrainConfig(epochs=5), 10).epochs == 5
