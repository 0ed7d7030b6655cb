"""The gate: it opens for what helps on rows left out, and for little else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scperturbmamba.models.gate import Gate


def foreseen_and_truth(n=120, k=30, *, signal, seed):
    """What is foreseen is the signal with noise of its own; the truth is the signal with other noise."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, k)) * signal
    return common + rng.normal(size=(n, k)), common + rng.normal(size=(n, k))


def folds(n, seed=0):
    return np.array_split(np.random.default_rng(seed).permutation(n), 5)


def test_a_prediction_that_is_half_noise_is_halved():
    said, truth = foreseen_and_truth(2000, signal=1.0, seed=0)
    gate = Gate.fit(said, truth, folds(2000), np.ones(2000))
    np.testing.assert_allclose(gate.opening, 0.5, atol=0.06)
    assert gate.gain == pytest.approx(0.25, abs=0.02)  # of variance 2 the prediction takes away 1/2
    assert gate.score == pytest.approx(0.0, abs=0.02)  # ungated, its noise costs what its signal gains


def test_each_component_is_opened_as_far_as_it_helps():
    said, truth = foreseen_and_truth(400, 20, signal=1.0, seed=1)
    said[:, 10:] = np.random.default_rng(2).normal(size=(400, 10))
    gate = Gate.fit(said, truth, folds(400), np.ones(400))
    assert gate.opening[:10].min() > 0.3 and gate.opening[10:].mean() < 0.1


def test_noise_is_shut_out_and_does_no_harm():
    """The claim: over permutations at most a tenth of the components open, and the mean harm is a thousandth."""
    opened, harm = [], []
    for seed in range(20):
        said, truth = foreseen_and_truth(signal=0, seed=seed)
        gate = Gate.fit(said, truth, folds(120, seed), np.ones(120))
        fresh, other = foreseen_and_truth(signal=0, seed=1000 + seed)
        opened.append(np.mean(gate.opening > 0))
        harm.append(np.square(other - gate.opening * fresh).sum() / np.square(other).sum() - 1)
    assert np.mean(opened) <= 0.1
    assert np.mean(harm) <= 0.001


def test_a_shut_gate_does_not_hide_a_prediction_that_does_harm():
    said, truth = foreseen_and_truth(signal=0, seed=3)
    gate = Gate.fit(5 * said, truth, folds(120), np.ones(120))
    assert not gate.is_open and gate.score < -10
    assert not Gate.shut(4).is_open


def test_numbers_of_one_component_share_an_opening():
    said, truth = foreseen_and_truth(300, 12, signal=1.0, seed=4)
    gate = Gate.fit(said, truth, folds(300), np.ones(300), widths=[1, 1, 10])
    assert gate.opening.shape == (3,)
    alone = Gate.fit(said, truth, folds(300), np.ones(300))
    assert gate.opening[2] == pytest.approx(alone.opening[2:].mean(), abs=0.1)


def test_rows_of_no_trust_are_not_heard():
    said, truth = foreseen_and_truth(200, signal=1.0, seed=5)
    said[100:] *= -1
    trust = np.where(np.arange(200) < 100, 1.0, 1e-9)
    gate = Gate.fit(said, truth, folds(200), trust)
    first = Gate.fit(said[:100], truth[:100], [np.arange(100)[number::5] for number in range(5)], np.ones(100))
    np.testing.assert_allclose(gate.opening, first.opening, atol=0.05)


@given(st.integers(0, 10_000), st.floats(0, 3))
def test_an_opening_is_a_share_and_a_state_comes_back(seed, signal):
    said, truth = foreseen_and_truth(40, 5, signal=signal, seed=seed)
    gate = Gate.fit(said, truth, folds(40), np.ones(40))
    assert ((gate.opening >= 0) & (gate.opening <= 1)).all()
    back = Gate.from_state(gate.state())
    assert np.array_equal(back.opening, gate.opening) and back.words() == gate.words()


def test_nothing_foreseen_opens_nothing():
    truth = np.random.default_rng(0).normal(size=(30, 4))
    assert not Gate.fit(np.zeros((30, 4)), truth, folds(30), np.ones(30)).is_open


def test_rows_that_belong_together_count_once():
    """Three doses of a drug that say the same tell what one tells."""
    said, truth = foreseen_and_truth(100, signal=0.5, seed=1)
    once = Gate.fit(said, truth, folds(100), np.ones(100))
    rows = np.repeat(np.arange(100), 3)
    thrice = Gate.fit(said[rows], truth[rows], folds(100), np.ones(300), together=rows)
    assert thrice.error == pytest.approx(once.error) and thrice.gain == pytest.approx(once.gain)
    np.testing.assert_allclose(thrice.opening, once.opening)
