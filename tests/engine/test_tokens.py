from dataclasses import replace

import pytest
import torch

from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.tokens import ConditionToken, GeneInputs, GeneTokens, Memory, TargetMark

torch.set_num_threads(1)

N_GENES = 12


def encoder(**options):
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        token = ConditionToken(NetConfig(**{"feature_dropout": 0.0, **options}), n_parts=9, n_kinds=3, widths=(5, 4, 1))
        torch.nn.init.normal_(token.control)
    return token.eval()


@pytest.fixture
def conditions(make_conditions):
    return make_conditions(4, n_genes=N_GENES, parts=3)


def over_parts(conditions, change):
    """Apply a change to every array that runs over the parts."""
    names = ("index", "kind", "features", "code", "present", "place")
    return replace(conditions, **{name: change(getattr(conditions, name)) for name in names})


def with_one_part(conditions, **changes):
    changed = {name: getattr(conditions, name).clone() for name in changes}
    for name, value in changes.items():
        changed[name][:, 0] = value
    return replace(conditions, **changed)


def test_the_order_of_parts_is_of_no_account(conditions):
    token = encoder()
    expected = token(conditions)
    for order in ([2, 0, 1], [1, 0, 2]):
        torch.testing.assert_close(token(over_parts(conditions, lambda one, order=order: one[:, order])), expected)
    shuffled_kinds = replace(conditions, kind=(conditions.kind + 1) % 3)
    assert not torch.allclose(token(shuffled_kinds), expected)


def test_padding_is_of_no_account(conditions):
    token = encoder()
    padded = over_parts(conditions, lambda one: torch.cat([one, one[:, :2]], dim=1))
    padded.present[:, 3:] = False
    torch.testing.assert_close(token(padded), token(conditions))
    padded.present[:, 3:] = True
    assert not torch.allclose(token(padded), token(conditions))


def test_a_part_that_was_never_seen_is_told_by_its_features_alone(conditions):
    token = encoder()
    unseen = with_one_part(conditions, index=0)
    assert torch.equal(token(unseen), token(with_one_part(unseen, code=7.0)))
    assert not torch.allclose(token(unseen), token(with_one_part(unseen, features=7.0)))
    assert not torch.allclose(token(unseen), token(with_one_part(unseen, kind=(conditions.kind[:, 0] + 1) % 3)))


def test_a_part_that_was_seen_is_told_by_its_features_its_embedding_and_its_code(conditions):
    token = encoder()
    before = token(conditions)
    other = 1 + conditions.index[:, 0] % 9
    for change in ({"features": 7.0}, {"code": 7.0}, {"index": other}):
        assert not torch.allclose(token(with_one_part(conditions, **change)), before)


def test_an_identity_that_is_always_hidden_in_training_is_that_of_an_unseen_part(conditions):
    token = encoder(identity_dropout=1.0).train()
    unseen = replace(conditions, index=torch.zeros_like(conditions.index))
    assert torch.equal(token(conditions), token(unseen))
    assert not torch.allclose(token.eval()(conditions), token(unseen))


def test_an_identity_is_hidden_part_by_part_in_the_share_asked_for(make_conditions):
    token = encoder(identity_dropout=0.3).train()
    one = make_conditions(1, n_genes=N_GENES, parts=1)
    many = one[torch.zeros(4000, dtype=torch.int64)]
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        found = token(many)
    hidden = token(replace(one, index=torch.zeros_like(one.index)))
    shown = token.eval()(one)
    is_hidden = torch.isclose(found, hidden, atol=1e-5).all(1)
    is_shown = torch.isclose(found, shown, atol=1e-5).all(1)
    assert (is_hidden ^ is_shown).all()
    assert float(is_hidden.float().mean()) == pytest.approx(0.3, abs=0.03)


def test_features_are_hidden_at_random_in_training_only(make_conditions):
    token = encoder(feature_dropout=0.5, identity_dropout=0.0)
    one = make_conditions(1, n_genes=N_GENES, parts=1)
    many = one[torch.zeros(50, dtype=torch.int64)]
    found = token.train()(many)
    assert len(found.unique(dim=0)) > 10
    silent = replace(many, features=torch.zeros_like(many.features))
    assert len(token(silent).unique(dim=0)) == 1
    assert len(token.eval()(many).unique(dim=0)) == 1


def test_with_no_dropout_training_hides_nothing(conditions):
    token = encoder(identity_dropout=0.0)
    assert torch.equal(token.train()(conditions), token.eval()(conditions))


def test_the_control_is_the_empty_set(conditions):
    token = encoder()
    empty = replace(conditions, present=torch.zeros_like(conditions.present), covariates=conditions.covariates * 0)
    found = token(empty)
    torch.testing.assert_close(found, found[:1].expand_as(found))
    torch.testing.assert_close(found[0], token.control + token.mix(torch.zeros(48)))


def test_covariates_reach_the_token(conditions):
    token = encoder()
    assert not torch.allclose(token(replace(conditions, covariates=conditions.covariates + 1)), token(conditions))


def test_a_pair_is_more_than_the_sum_of_its_parts(make_conditions):
    token = encoder()
    pair = make_conditions(1, n_genes=N_GENES, parts=2)
    first, second = (over_parts(pair, lambda one, column=column: one[:, [column]]) for column in (0, 1))
    empty = replace(pair, present=torch.zeros_like(pair.present))
    assert not torch.allclose(token(pair) + token(empty), token(first) + token(second), atol=1e-4)


def test_rows_are_taken_from_every_array(conditions):
    some = conditions[torch.tensor([2, 0])]
    assert len(some) == 2
    for name, value in conditions.given():
        assert torch.equal(getattr(some, name), value[[2, 0]])
    paired = replace(conditions, pairs=torch.randn(len(conditions), N_GENES, 3))
    assert torch.equal(paired[torch.tensor([2, 0])].pairs, paired.pairs[[2, 0]])
    cast = conditions.to("cpu", torch.float64)
    assert cast.features.dtype == torch.float64 and cast.index.dtype == torch.int64


def test_gene_tokens_move_with_their_genes(make_genes):
    genes, order = make_genes(N_GENES), torch.randperm(N_GENES, generator=torch.Generator().manual_seed(0))
    tokens = GeneTokens(NetConfig(), genes)
    moved = GeneTokens(NetConfig(), GeneInputs(genes.chromosome[order], genes.locus[order], genes.features[order]))
    weights = {k: v for k, v in tokens.state_dict().items() if k not in ("chromosome", "locus", "features")}
    weights["identity.weight"] = weights["identity.weight"][order]
    moved.load_state_dict(weights, strict=False)
    state = torch.randn(2, N_GENES)
    torch.testing.assert_close(moved(state[:, order]), tokens(state)[:, order])


@pytest.mark.parametrize("what", ["chromosome", "locus", "features", "state"])
def test_a_gene_token_tells_everything_known_of_the_gene_and_nothing_of_others(make_genes, what):
    genes, state = make_genes(N_GENES), torch.randn(1, N_GENES)
    tokens = GeneTokens(NetConfig(), genes)
    before = tokens(state)
    if what == "state":
        state[:, 3] += 1
    elif what == "chromosome":
        tokens.chromosome[3] = (tokens.chromosome[3] + 1) % 25
    else:
        getattr(tokens, what)[3] += 1
    changed = (tokens(state) - before).abs().amax((0, 2)) > 1e-6
    assert changed.nonzero().tolist() == [[3]]


@pytest.fixture
def memory():
    made = Memory(NetConfig(memory=6), n_parts=9, n_genes=N_GENES)
    with torch.no_grad():
        made.identity.weight[1:].normal_()
    return made


def test_what_is_known_by_heart_is_summed_over_the_parts_that_show(memory, conditions):
    visible = torch.ones(4, 3)
    visible[0, 1] = visible[2] = 0
    found = memory(conditions, visible)
    table = memory.identity.weight @ memory.genes.weight.T
    for row in range(4):
        expected = sum(visible[row, part] * table[conditions.index[row, part]] for part in range(3))
        torch.testing.assert_close(found[row], expected)
    assert not found[2].any()


def test_nothing_is_known_by_heart_at_the_start_or_of_a_part_never_seen(memory, conditions):
    assert not Memory(NetConfig(), n_parts=9, n_genes=N_GENES)(conditions, torch.ones(4, 3)).any()
    unseen = replace(conditions, index=torch.zeros_like(conditions.index))
    assert not memory(unseen, encoder().visible(unseen)).any()


def test_a_mark_changes_the_tokens_of_the_perturbed_genes_and_no_other(make_conditions):
    mark = TargetMark(NetConfig(), n_kinds=3)
    conditions = make_conditions(3, n_genes=N_GENES, parts=2)
    conditions.place[1] = torch.tensor([5, -1])
    conditions.present[2, 1] = False
    tokens = torch.randn(3, N_GENES, 48)
    change = mark(tokens, conditions) - tokens
    expected = torch.zeros_like(tokens)
    for row, part in ((0, 0), (0, 1), (1, 0), (2, 0)):
        expected[row, conditions.place[row, part]] += mark.mark.weight[conditions.kind[row, part]]
    torch.testing.assert_close(change, expected)
