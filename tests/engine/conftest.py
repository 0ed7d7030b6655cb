"""Small inputs for the network: genes with features, conditions as padded sets of parts."""

import pytest
import torch

from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.predictor import Predictor, Sizes
from scperturbmamba.engine.tokens import ConditionInputs, GeneInputs

N_FEATURES, N_CODE, N_PARTS, N_KINDS = 5, 4, 9, 3


def _genes(n_genes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return GeneInputs(
        chromosome=torch.arange(n_genes) * 25 // max(n_genes, 1),
        locus=torch.randn(n_genes, 6, generator=generator),
        features=torch.randn(n_genes, N_FEATURES, generator=generator),
    )


def _conditions(rows, *, n_genes, parts=2, seed=0):
    generator = torch.Generator().manual_seed(100 + seed)
    return ConditionInputs(
        index=torch.randint(1, N_PARTS + 1, (rows, parts), generator=generator),
        kind=torch.randint(0, N_KINDS, (rows, parts), generator=generator),
        features=torch.randn(rows, parts, N_FEATURES, generator=generator),
        code=torch.randn(rows, parts, N_CODE, generator=generator),
        present=torch.ones(rows, parts, dtype=torch.bool),
        place=torch.stack([torch.randperm(n_genes, generator=generator)[:parts] for _ in range(rows)]),
        context=torch.zeros(rows, dtype=torch.int64),
        covariates=torch.randn(rows, 1, generator=generator),
    )


def _network(n_genes, *, contexts=1, seed=0, genes=None, control=None, awake=True, scale=1.0, **options):
    config = NetConfig(**{"width": 8, "head_width": 8, "state": 4, "identity_width": 4, "position_width": 2, **options})
    if control is None:
        control = torch.randn(contexts, n_genes, generator=torch.Generator().manual_seed(7))
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        net = Predictor(
            config,
            genes if genes is not None else _genes(n_genes),
            Sizes(N_PARTS, N_KINDS, N_FEATURES, N_CODE, 1),
            state=control,
            scale=scale,
        )
        if awake:
            _awake(net)
    return net.eval()


def _awake(net):
    """Give every parameter that starts at zero a value, so that no path is silent."""
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3)


@pytest.fixture
def make_genes():
    return _genes


@pytest.fixture
def make_conditions():
    return _conditions


@pytest.fixture
def make_network():
    return _network
