import pytest
import torch

from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.heads import LinearHead, NegativeBinomialHead

torch.set_num_threads(1)

TOKENS = torch.randn(3, 7, 8, generator=torch.Generator().manual_seed(0))
CONFIG = NetConfig(width=8, head_width=8)


def normed(tokens, weight):
    return tokens / torch.sqrt(tokens.square().mean(-1, keepdim=True) + 1e-5) * weight


def test_the_linear_head_is_a_projection_of_the_normed_token_plus_a_bias_per_gene():
    head = LinearHead(CONFIG, 7)
    with torch.no_grad():
        head.bias.copy_(torch.arange(7.0))
        head.norm.weight.uniform_(0.5, 2)
    effect = head(TOKENS)
    expected = normed(TOKENS, head.norm.weight) @ head.out.weight[0] + torch.arange(7.0)
    torch.testing.assert_close(effect.shift, expected)
    assert effect.log_dispersion is None


def test_the_negative_binomial_head_gives_a_shift_and_a_dispersion_around_the_gene_s_own():
    own = torch.linspace(-2, 3, 7)
    head = NegativeBinomialHead(CONFIG, own)
    with torch.no_grad():
        head.bias.copy_(torch.arange(7.0))
    effect = head(TOKENS)
    shift, spread = (normed(TOKENS, head.norm.weight) @ head.out.weight.T).unbind(-1)
    torch.testing.assert_close(effect.shift, shift + torch.arange(7.0))
    torch.testing.assert_close(effect.log_dispersion, own + 0.1 * spread)
    assert (effect.log_dispersion - own).abs().max() < 0.5


def test_dispersions_stay_where_the_likelihood_is_stable():
    head = NegativeBinomialHead(CONFIG, torch.tensor([-50.0, 0, 0, 0, 0, 0, 50.0]))
    found = head(TOKENS).log_dispersion
    assert found[:, 0].tolist() == [-4.0] * 3 and found[:, -1].tolist() == [8.0] * 3


@pytest.mark.parametrize("head", [LinearHead(CONFIG, 7), NegativeBinomialHead(CONFIG, torch.zeros(7))])
def test_a_gene_s_output_reads_its_own_token_only(head):
    other = TOKENS.clone()
    other[:, 4] += torch.randn(3, 8)
    change = (head(other).shift - head(TOKENS).shift).abs().amax(0) > 1e-6
    assert change.tolist() == [False] * 4 + [True] + [False] * 2
