from dataclasses import replace

import pytest
import torch

from scperturbmamba.engine.mixers import BiMamba2

torch.set_num_threads(1)

N_GENES = 30


def test_an_effect_per_condition_and_gene(make_network, make_conditions):
    effect = make_network(N_GENES)(make_conditions(3, n_genes=N_GENES))
    assert effect.shift.shape == (3, N_GENES) and effect.log_dispersion is None
    effect = make_network(N_GENES, head="nb")(make_conditions(3, n_genes=N_GENES))
    assert effect.shift.shape == effect.log_dispersion.shape == (3, N_GENES)


@pytest.mark.parametrize("mixer", ["mamba2", "lstm"])
def test_a_condition_s_effect_does_not_depend_on_its_companions(make_network, make_conditions, mixer):
    net, conditions = make_network(N_GENES, mixer=mixer), make_conditions(4, n_genes=N_GENES)
    whole = net(conditions).shift
    for row in range(4):
        torch.testing.assert_close(net(conditions[torch.tensor([row])]).shift, whole[[row]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixer", ["mamba2", "lstm"])
@pytest.mark.parametrize("static", [0, 1, 2])
def test_static_layers_are_the_same_layers_computed_once(make_network, make_conditions, mixer, static):
    net = make_network(N_GENES, contexts=2, layers=3, static_layers=static, mixer=mixer)
    conditions = make_conditions(5, n_genes=N_GENES)
    conditions.context[1:3] = 1
    rows = []
    for row in range(5):  # condition by condition, nothing shared
        genes = net.genes(net.state[[int(conditions.context[row])]])
        for layer in net.layers[:static]:
            genes = layer(genes, has_condition=False)
        sequence = torch.cat([net.condition(conditions[torch.tensor([row])])[:, None], genes], dim=1)
        for layer in net.layers[static:]:
            sequence = layer(sequence, has_condition=True)
        rows.append(sequence)
    seen = []
    for layer in net.layers:
        layer.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    found = net.tokens(conditions, net.condition(conditions))
    torch.testing.assert_close(found, torch.cat(rows), rtol=1e-4, atol=1e-5)
    assert seen == [2] * static + [5] * (3 - static)


def test_a_condition_sees_the_control_state_of_its_context(make_network, make_conditions):
    control = torch.randn(2, N_GENES, generator=torch.Generator().manual_seed(1))
    both = make_network(N_GENES, control=control)
    conditions = make_conditions(2, n_genes=N_GENES)
    found = []
    for context in (0, 1):
        alone = make_network(N_GENES, control=control[[context]])
        expected = alone(conditions).shift
        there = replace(conditions, context=torch.full_like(conditions.context, context))
        found.append(both(there).shift)
        torch.testing.assert_close(found[-1], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(*found)


def test_a_mark_changes_its_own_gene_and_no_other(make_network, make_conditions):
    net, conditions = make_network(N_GENES), make_conditions(2, n_genes=N_GENES, parts=1)
    outside = replace(conditions, place=torch.full_like(conditions.place, -1))
    change = (net(conditions).shift - net(outside).shift).abs() > 1e-7
    assert [row.nonzero().flatten().tolist() for row in change] == conditions.place.tolist()


def test_every_gene_hears_of_the_condition_and_of_every_other_gene(make_network, make_conditions):
    net, conditions = make_network(N_GENES), make_conditions(1, n_genes=N_GENES, parts=1)
    far = replace(conditions, place=torch.full_like(conditions.place, -1))
    other = replace(far, features=far.features + 1)
    assert ((net(far).shift - net(other).shift).abs() > 0).all()
    before = net(far).shift
    with torch.no_grad():
        net.state[0, 17] += 1
    assert ((net(far).shift - before).abs() > 0).all()


def test_a_part_never_seen_is_predicted_from_the_sequence_alone(make_network, make_conditions):
    net, conditions = make_network(N_GENES), make_conditions(2, n_genes=N_GENES, parts=1)
    unseen = replace(conditions, index=torch.zeros_like(conditions.index))
    seen_before, unseen_before = net(conditions).shift, net(unseen).shift
    with torch.no_grad():
        net.memory.identity.weight[1:] += 1
    assert torch.equal(net(unseen).shift, unseen_before)
    assert not torch.allclose(net(conditions).shift, seen_before)


def test_what_is_known_by_heart_is_hidden_with_the_identity(make_network, make_conditions):
    net = make_network(N_GENES, identity_dropout=1.0).train()
    net(make_conditions(4, n_genes=N_GENES)).shift.square().sum().backward()
    assert not net.memory.identity.weight.grad.any() and not net.condition.identity.weight.grad.any()
    assert net.condition.features[0].weight.grad.any()


def test_effects_come_in_units_of_the_typical_one(make_network, make_conditions):
    conditions = make_conditions(2, n_genes=N_GENES)
    small, large = (make_network(N_GENES, scale=scale)(conditions).shift for scale in (0.5, 2.0))
    torch.testing.assert_close(4 * small, large)


def test_the_engine_is_told_to_every_mixer(make_network, make_conditions):
    net, conditions = make_network(N_GENES, layers=3), make_conditions(2, n_genes=N_GENES)
    auto = net(conditions).shift
    net.use_engine("torch")
    assert [one.engine for one in net.modules() if isinstance(one, BiMamba2)] == ["torch"] * 3
    assert torch.equal(net(conditions).shift, auto)
    net.use_engine("mamba_ssm")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="needs a CUDA GPU"):
            net(conditions)


@pytest.mark.parametrize("mixer", ["mamba2", "lstm"])
@pytest.mark.parametrize("head", ["linear", "nb"])
def test_every_weight_is_of_use(make_network, make_conditions, mixer, head):
    net = make_network(N_GENES, mixer=mixer, head=head).train()
    conditions = make_conditions(6, n_genes=N_GENES, parts=3)
    effect = net(conditions)
    loss = effect.shift.square().sum() + (0 if effect.log_dispersion is None else effect.log_dispersion.square().sum())
    loss.backward()
    idle = [name for name, one in net.named_parameters() if one.grad is None or not one.grad.any()]
    assert idle == []


@pytest.mark.parametrize("mixer", ["mamba2", "lstm"])
def test_mixed_precision_is_near_single(make_network, make_conditions, mixer):
    net, conditions = make_network(N_GENES, mixer=mixer), make_conditions(3, n_genes=N_GENES)
    with torch.no_grad():
        single = net(conditions).shift
        with torch.autocast("cpu", torch.bfloat16):
            mixed = net(conditions).shift
    assert not torch.equal(mixed, single)
    assert float((mixed.float() - single).norm() / single.norm()) < 0.05
