import pytest
import torch

from scperturbmamba.engine.autoencoder import PathwayAutoencoder, explained, fit_autoencoder
from scperturbmamba.engine.subspaces import principal_axes, residual_squares


def world(n=240, g=60, k=4, noise=1.0, seed=0):
    """Standardised cells driven by ``k`` gene sets, and the sets."""
    generator = torch.Generator().manual_seed(seed)
    sets = torch.zeros(g, k, dtype=torch.float64)
    sets[torch.arange(g), torch.arange(g) % k] = 1
    x = torch.randn(n, k, generator=generator, dtype=torch.float64) @ sets.T
    x = x + noise * torch.randn(n, g, generator=generator, dtype=torch.float64)
    return (x - x.mean(0)) / x.std(0, correction=0), sets


def pca_explained(train, held, width):
    return 1 - float(residual_squares(held, principal_axes(train, width)).sum() / held.square().sum())


def test_the_first_encoder_is_the_projection_onto_the_decoder_s_span():
    x, _ = world()
    axes = principal_axes(x, 3)
    skewed = axes @ torch.tensor([[1.0, 0.5, 0], [0, 2, 0], [0.3, 0, 1]], dtype=torch.float64)
    model = PathwayAutoencoder(skewed)
    torch.testing.assert_close(model(x.float()).double(), x @ axes @ axes.T, atol=1e-4, rtol=0)


def test_the_encoder_can_bend():
    x, _ = world()
    model = PathwayAutoencoder(principal_axes(x, 3))
    torch.nn.init.normal_(model.correction.weight)
    a, b = x[:1].float(), x[1:2].float()
    bend = model.encode(a + b) - model.encode(a) - model.encode(b) + model.encode(torch.zeros_like(a))
    assert bend.detach().abs().max() > 1e-2


@pytest.mark.parametrize("mode", ["data", "init"])
@pytest.mark.parametrize("noise", [0.5, 3.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_held_out_cells_are_reconstructed_as_well_as_by_pca(mode, noise, seed):
    x, sets = world(noise=noise, seed=seed)
    train, held = x[:180], x[180:]
    fit = fit_autoencoder(train, width=4, sets=sets, mode=mode, seed=seed)
    assert explained(fit.model, held) >= pca_explained(train, held, 4) - 1e-6
    assert fit.r2 >= fit.r2_pca - 1e-6


def test_true_sets_help_where_cells_are_few_and_wrong_ones_are_set_aside():
    x, sets = world(n=400, g=120, noise=4.0)
    train, held = x[:100], x[100:]
    wrong = sets[torch.randperm(120, generator=torch.Generator().manual_seed(0))]
    pca = pca_explained(train, held, 4)
    right_fit, wrong_fit = (fit_autoencoder(train, width=4, sets=one, mode="init") for one in (sets, wrong))
    assert right_fit.strength > 0
    assert explained(right_fit.model, held) > pca + 0.002
    assert explained(wrong_fit.model, held) >= pca - 1e-3
    assert explained(right_fit.model, held) > explained(wrong_fit.model, held)


def test_a_masked_weight_is_exactly_zero_and_the_others_learn():
    x, sets = world(noise=0.5)
    sets = sets[:, :3]
    fit = fit_autoencoder(x, width=3, sets=sets, mode="mask")
    loadings = fit.model.loadings().detach()
    assert (loadings[sets == 0] == 0).all()
    assert (loadings[sets == 1] > 0).all()
    assert fit.r2 > 0.3


def test_training_improves_a_masked_decoder_whose_sets_overlap():
    generator = torch.Generator().manual_seed(3)
    sets = (torch.rand(80, 6, generator=generator) < 0.4).double()
    weights = sets * torch.randn(80, 6, generator=generator, dtype=torch.float64)
    x = torch.randn(600, 6, generator=generator, dtype=torch.float64) @ weights.T
    x = (x - x.mean(0)) / x.std(0, correction=0).clamp(min=1e-9)
    fit = fit_autoencoder(x, width=6, sets=sets, mode="mask")
    untrained = fit_autoencoder(x, width=6, sets=sets, mode="mask", max_epochs=0)
    assert fit.epochs > 0 and untrained.epochs == 0
    assert fit.r2 > untrained.r2 + 0.005
    assert (fit.model.loadings()[sets == 0] == 0).all()


@pytest.mark.parametrize("mode", ["data", "init", "mask"])
def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_one_alone(mode):
    x, sets = world(n=80, g=30)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = fit_autoencoder(x, width=4, sets=sets, mode=mode, seed=1)
    torch.testing.assert_close(torch.rand(3), expected)
    other = fit_autoencoder(x, width=4, sets=sets, mode=mode, seed=1)
    for a, b in zip(one.model.parameters(), other.model.parameters()):
        torch.testing.assert_close(a, b, atol=0, rtol=0)


def test_permuted_sets_give_another_decoder():
    x, sets = world()
    shuffled = sets[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    one, other = (fit_autoencoder(x, width=4, sets=each, mode="init").model.loadings() for each in (sets, shuffled))
    assert ((one - other).norm() / one.norm()).item() > 0.3


def test_more_pathways_than_the_cells_span_are_left_at_zero():
    x = torch.outer(torch.randn(30, generator=torch.Generator().manual_seed(0)), torch.arange(1.0, 6.0))
    fit = fit_autoencoder(x - x.mean(0), width=3)
    loadings = fit.model.loadings().detach()
    assert float(loadings[:, 0].norm()) > 0.9
    assert torch.isfinite(loadings).all()
    assert fit.r2 > 0.99


def test_each_pass_is_told():
    x, _ = world(n=40, g=12)
    passes = []
    fit = fit_autoencoder(x, width=2, max_epochs=3, on_epoch=lambda: passes.append(1))
    assert len(passes) == 3 + fit.epochs
