"""The interaction term: on where training combinations are more than sums, off where they are sums or too few."""

from dataclasses import replace

import numpy as np
import pytest

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.interaction import Interaction
from scperturbmamba.models.part_effects import PartEffects


@pytest.fixture(scope="module")
def data():
    """Sixty pairs of thirty genes whose effects have five directions."""
    adata = spm.datasets.toy(n_genes=60, n_singles=30, n_doubles=60, n_outside=0, cells_per_condition=8)
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    adata.obs["split"] = "train"
    bundle = Bundle.from_adata(adata)
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(5, 60))
    names = sorted({part.name for one in bundle.conditions for part in one.parts})
    z = {name: rng.normal(size=5) for name in names}
    sums = np.array([sum(z[part.name] for part in one.parts) for one in bundle.conditions])
    return replace(bundle, delta=(sums @ axes).astype(np.float32)), z, axes


def with_pairs(data, beyond, noise=0.5):
    bundle, z, axes = data
    rng = np.random.default_rng(1)
    extra = np.array([beyond(*[z[part.name] for part in one.parts]) if len(one.parts) > 1 else np.zeros(5)
                      for one in bundle.conditions])  # fmt: skip
    delta = bundle.delta + extra @ axes + noise * rng.normal(size=bundle.delta.shape)
    return replace(bundle, delta=delta.astype(np.float32))


def fit(bundle):
    seen = PartEffects.of(bundle, 0)
    return Interaction.fit(bundle, seen, 0, np.random.default_rng(0)), seen


def test_pairs_that_saturate_are_recognised(data):
    bundle = with_pairs(data, lambda a, b: -0.4 * np.minimum(np.abs(a), np.abs(b)) * np.sign(a) * (a * b > 0))
    found, seen = fit(bundle)
    assert found.gate.is_open and found.gate.gain > 2 * found.gate.error
    assert "an interaction is on" in found.words()
    pairs = [row for row, one in enumerate(bundle.conditions) if len(one.parts) > 1]
    conditions = [bundle.conditions[row] for row in pairs]
    sums = np.array([seen.total(one) for one in conditions])
    noiseless = with_pairs(data, lambda a, b: -0.4 * np.minimum(np.abs(a), np.abs(b)) * np.sign(a) * (a * b > 0), 0)
    errors = [np.square(noiseless.delta[pairs] - one).mean() for one in (sums, sums + found.say(conditions, seen))]
    assert errors[1] < 0.9 * errors[0]


def test_pairs_that_add_up_are_left_as_sums(data):
    found, seen = fit(with_pairs(data, lambda a, b: np.zeros(5), noise=0.1))  # noisy singles would make sums too large
    pairs = [one for one in data[0].conditions if len(one.parts) > 1]
    said, size = found.say(pairs, seen), np.array([seen.total(one) for one in pairs])
    assert np.square(said).sum() < 0.01 * np.square(size).sum()


def test_a_learned_coefficient_is_a_special_case(data):
    found, seen = fit(with_pairs(data, lambda a, b: -0.3 * (a + b), noise=0.1))
    pairs = [one for one in data[0].conditions if len(one.parts) > 1]
    sums = np.array([seen.total(one) for one in pairs])
    slope = float((found.say(pairs, seen) * sums).sum() / np.square(sums).sum())
    assert slope == pytest.approx(-0.3, abs=0.05)


def test_few_pairs_teach_nothing_and_singles_are_never_touched(data):
    bundle = with_pairs(data, lambda a, b: -0.5 * (a + b))
    pairs = np.array([row for row, one in enumerate(bundle.conditions) if len(one.parts) > 1])
    singles = np.setdiff1d(np.arange(len(bundle.conditions)), pairs)
    few, _ = fit(bundle.take(np.concatenate([singles, pairs[:19]])))
    assert not few.gate.is_open and few.words() == ""
    found, seen = fit(bundle)
    assert not found.say([Condition(), *(bundle.conditions[row] for row in singles)], seen).any()


def test_a_state_comes_back(data):
    found, seen = fit(with_pairs(data, lambda a, b: -0.5 * (a + b)))
    back = Interaction.from_state(*found.state())
    pairs = [one for one in data[0].conditions if len(one.parts) > 1]
    assert np.array_equal(back.say(pairs, seen), found.say(pairs, seen)) and back.words() == found.words()
