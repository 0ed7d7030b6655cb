"""Laws of the networks of the inverse task; 11 genes, 5 candidates."""

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from scperturbmamba.engine.inverse.build import Genes, build_inverse
from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.inverse.fit import Labelled, logits_of, micro_f1, train_inverse
from scperturbmamba.engine.inverse.graph_attention import GeneGraph, PairAttention
from scperturbmamba.engine.inverse.reader import Attend
from scperturbmamba.engine.tokens import GeneInputs

torch.set_num_threads(1)

KINDS = ("mlp", "attention", "multihead", "cross_attention", "graph_attention", "bimamba")
OF_TOKENS = KINDS[1:]
N_GENES, N_CANDIDATES = 11, 5
SMALL = {"width": 8, "heads": 2, "queries": 3, "state": 4, "dropout": 0.0, "gene_dropout": 0.0}
every_kind = pytest.mark.parametrize("kind", KINDS)


def known_genes(seed=0):
    generator = torch.Generator().manual_seed(seed)
    neighbours = torch.stack([torch.randperm(N_GENES, generator=generator)[:4] for _ in range(N_GENES)])
    neighbours[:, 0] = torch.arange(N_GENES)
    edges = torch.rand(N_GENES, 4, 3, generator=generator)
    edges[::2, 3] = 0  # padding
    return Genes(
        GeneInputs(
            chromosome=torch.arange(N_GENES) * 25 // N_GENES,
            locus=torch.rand(N_GENES, 1, generator=generator),
            features=torch.randn(N_GENES, 6, generator=generator),
        ),
        order=torch.randperm(N_GENES, generator=generator),
        graph=GeneGraph(neighbours, edges),
    )


def network(kind, genes=None, **options):
    config = InverseConfig(**{**SMALL, "kind": kind, **options})
    with torch.random.fork_rng():
        torch.random.manual_seed(3)
        return config, build_inverse(config, genes or known_genes(), N_CANDIDATES).eval()


def profiles(n, seed=1):
    return torch.randn(n, N_GENES, generator=torch.Generator().manual_seed(seed))


@every_kind
def test_a_profile_gets_a_logit_per_candidate_that_does_not_depend_on_the_other_profiles(kind):
    _, net = network(kind, layers=2)
    x = profiles(7)
    together = logits_of(net, x)
    assert together.shape == (7, N_CANDIDATES)
    torch.testing.assert_close(torch.cat([logits_of(net, one[None]) for one in x]), together, rtol=1e-5, atol=1e-5)


@every_kind
def test_every_gene_can_change_the_answer(kind):
    _, net = network(kind, layers=2)
    x = profiles(4).requires_grad_()
    net(x).square().sum().backward()
    assert (x.grad.abs().sum(0) > 1e-8).all()


@pytest.mark.parametrize("kind", OF_TOKENS)
def test_genes_in_another_order_with_all_that_is_known_of_them_give_the_same_logits(kind):
    genes, order = known_genes(), torch.randperm(N_GENES, generator=torch.Generator().manual_seed(9))
    new_place = torch.argsort(order)
    inputs = GeneInputs(genes.inputs.chromosome[order], genes.inputs.locus[order], genes.inputs.features[order])
    graph = GeneGraph(new_place[genes.graph.neighbours][order], genes.graph.edges[order])
    _, one = network(kind, genes, layers=2)
    _, other = network(kind, Genes(inputs, new_place[genes.order], graph), layers=2)
    learned = {name: value for name, value in one.named_parameters() if name != "genes.own"}
    other.load_state_dict({**learned, "genes.own": one.genes.own[order]}, strict=False)
    x = profiles(5)
    torch.testing.assert_close(other(x[:, order]), one(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", OF_TOKENS)
def test_genes_in_another_order_without_what_is_known_of_them_give_other_logits(kind):
    _, net = network(kind, layers=2)
    x = profiles(5)
    assert (net(x.flip(1)) - net(x)).abs().max() > 1e-3


@pytest.mark.parametrize("what", ["chromosome", "locus", "features"])
def test_chromosome_locus_and_features_of_measured_genes_are_read(what):
    genes = known_genes()
    changed = {name: getattr(genes.inputs, name).clone() for name in ("chromosome", "locus", "features")}
    changed[what] = changed[what].flip(0)
    _, one = network("cross_attention", genes)
    _, other = network("cross_attention", Genes(GeneInputs(**changed), genes.order, genes.graph))
    x = profiles(5)
    assert (one(x) - other(x)).abs().max() > 1e-4


def test_an_unknown_chromosome_is_a_row_of_zeros_among_24():
    _, net = network("cross_attention")
    chromosomes = net.genes.known[:, :24]
    assert chromosomes.sum(1).tolist() == [float(code < 24) for code in known_genes().inputs.chromosome]


def test_reading_expression_is_reading_tokens_that_lie_along_a_direction():
    config = InverseConfig(**SMALL)
    torch.manual_seed(0)
    attend = Attend(config, 2, N_GENES).double()
    queries, place, direction = (torch.randn(*shape, 8).double() for shape in ((4, 3), (N_GENES,), (N_GENES,)))
    x = profiles(4).double()
    laid_out = attend(queries, place, x[..., None] * direction)
    torch.testing.assert_close(attend.of_expression(queries, place, x, direction), laid_out)


def test_attention_is_an_average_over_many_genes():
    """With equal keys each query returns the mean of the values, times the root of the number of genes."""
    attend = Attend(InverseConfig(**SMALL), 2, N_GENES)
    said = torch.randn(1, N_GENES, 8)
    with torch.no_grad():
        attend.key.weight.zero_()
        attend.key_said.weight.zero_()
        expected = N_GENES**0.5 * attend.out(attend.value(said).mean(1, keepdim=True))
        torch.testing.assert_close(attend(torch.randn(1, 1, 8), torch.zeros(N_GENES, 8), said), expected)


def test_a_gene_listens_to_its_neighbours_alone():
    graph = known_genes().graph
    layer = PairAttention(InverseConfig(**SMALL), graph).eval()
    place, tokens = torch.randn(N_GENES, 8), torch.randn(1, N_GENES, 8, requires_grad=True)
    listener = 4
    layer(place, tokens)[0, listener].sum().backward()
    heard = torch.nonzero(tokens.grad[0].abs().sum(-1)).flatten()
    present = (graph.edges[listener] > 0).any(-1)
    assert set(heard.tolist()) == set(graph.neighbours[listener][present].tolist())


@every_kind
def test_a_tiny_network_learns_eight_profiles_by_heart(kind):
    x = profiles(8, seed=2)
    y = (torch.rand(8, N_CANDIDATES, generator=torch.Generator().manual_seed(4)) < 0.4).float()
    config, net = network(kind, epochs=150, units=8, batch_size=8, lr=2e-2, every_n_epochs=150, weight_decay=0.0)
    train_inverse(net, lambda _: Labelled(x, y), None, config, positive_weight=torch.ones(N_CANDIDATES), device="cpu")
    assert torch.equal(logits_of(net, x) > 0, y > 0)


def test_the_weights_that_did_best_on_validation_are_kept():
    """Validation labels are the opposite of what is learned, so the longer the training the worse they fare."""
    x = profiles(64)
    y = (x[:, :N_CANDIDATES] > 0).float()
    config, net = network("mlp", epochs=40, units=64, batch_size=64, every_n_epochs=1, patience=3)
    ones = torch.ones(N_CANDIDATES)
    history = train_inverse(net, lambda _: Labelled(x, y), Labelled(x, 1 - y), config, positive_weight=ones)
    assert history.stopped == "early"
    assert history.best_epoch < len(history.rows) < 40
    logits = logits_of(net, x)
    kept = min(
        float(torch.nn.functional.binary_cross_entropy_with_logits(logits / temperature, 1 - y) * N_CANDIDATES)
        for temperature in torch.linspace(0.7, 8, 200)
    )
    assert kept == pytest.approx(history.rows[history.best_epoch - 1]["val_loss"], rel=0.01)


def test_a_loss_that_is_no_number_ends_the_training():
    config, net = network("mlp", units=8)
    broken = Labelled(torch.full((8, N_GENES), float("nan")), torch.zeros(8, N_CANDIDATES))
    with pytest.raises(RuntimeError, match="became nan at step 0"):
        train_inverse(net, lambda _: broken, None, config, positive_weight=torch.ones(N_CANDIDATES))


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="multiple of heads"):
        InverseConfig(width=10, heads=4)
    with pytest.raises(ValueError, match="at most 1"):
        InverseConfig(doubles=0.7, controls=0.5)


def test_micro_f1_is_the_harmonic_mean_of_precision_and_recall():
    called = torch.tensor([[True, True, False], [False, False, True]])
    true = torch.tensor([[True, False, False], [False, True, True]])
    precision, recall = 2 / 3, 2 / 3
    assert micro_f1(called, true) == pytest.approx(2 * precision * recall / (precision + recall))


class Interrupt(Callback):
    """Ctrl-C at the start of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("has_val", [True, False])
def test_an_interrupted_training_keeps_what_it_has_learned(has_val):
    x = profiles(64)
    learned = Labelled(x, (x[:, :N_CANDIDATES] > 0).float())
    config, net = network("mlp", epochs=40, units=64, batch_size=8, every_n_epochs=1, lr=1e-2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    history = train_inverse(
        net,
        lambda _: learned,
        learned if has_val else None,
        config,
        positive_weight=torch.ones(N_CANDIDATES),
        callbacks=[Interrupt(6)],
    )
    assert history.stopped == "interrupted"
    assert len(history.rows) == 6
    assert any(not torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert micro_f1(logits_of(net, x) > 0, learned.y > 0) > 0.9
