import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scperturbmamba import metrics

whole = st.integers(-1000, 1000).map(lambda value: value / 100)
pairs = st.integers(3, 30).flatmap(lambda genes: arrays(np.float64, (2, 3, genes), elements=whole))
flags = arrays(bool, (2, 3, 30))


@settings(deadline=None)
@given(pairs, st.integers(1, 40))
def test_direction_accuracy_agrees_with_a_loop(drawn, n_top_genes):
    a, b = drawn
    for value, x, y in zip(metrics.direction_accuracy(a, b, n_top_genes=n_top_genes), a, b):
        top = sorted(range(len(x)), key=lambda gene: -abs(x[gene]))[:n_top_genes]
        share = [0.5 if x[gene] == 0 or y[gene] == 0 else float((x[gene] > 0) == (y[gene] > 0)) for gene in top]
        assert value == pytest.approx(np.mean(share))


def test_direction_does_not_depend_on_scale(sides):
    a, b = sides
    np.testing.assert_array_equal(metrics.direction_accuracy(a, 100 * b), metrics.direction_accuracy(a, b))
    np.testing.assert_allclose(metrics.direction_accuracy(a, -b), 1 - metrics.direction_accuracy(a, b))
    np.testing.assert_array_equal(metrics.direction_accuracy(a, 0 * b), np.full(6, 0.5))


def largest(change, significant):
    return sorted(np.flatnonzero(significant), key=lambda gene: -abs(change[gene]))


@settings(deadline=None)
@given(pairs, flags, st.one_of(st.none(), st.integers(1, 40)))
def test_overlap_and_precision_agree_with_sets(drawn, significant, n):
    a, b = drawn
    on_a, on_b = (side[:, : a.shape[1]] for side in significant)
    overlap = metrics.de_overlap(a, b, on_a, n=n, predicted_significant=on_b)
    precision = metrics.de_precision(a, b, on_a, n=n, predicted_significant=on_b)
    for row in range(3):
        true, called = largest(a[row], on_a[row]), largest(b[row], on_b[row])
        for found, reference in ((overlap, true), (precision, called)):
            k = min(n or len(reference), len(reference))
            wanted = len(set(true[:k]) & set(called[:k])) / k if k else 0
            assert found[row] == pytest.approx(wanted)


def test_without_a_predicted_significance_every_gene_may_be_called(sides):
    a, b = sides
    significant, every = np.abs(a) > 1, np.ones(a.shape, dtype=bool)
    wanted = metrics.de_overlap(a, b, significant, predicted_significant=every)
    np.testing.assert_array_equal(metrics.de_overlap(a, b, significant), wanted)
    wanted = metrics.de_precision(a, b, significant, n=10, predicted_significant=every)
    np.testing.assert_array_equal(metrics.de_precision(a, b, significant, n=10), wanted)


def test_an_infinite_change_is_the_largest_and_nothing_called_is_zero():
    significant = [[True, True, True]]
    change = [[1.0, -np.inf, 2.0]]
    assert metrics.de_overlap(change, [[1.0, 9.0, 2.0]], significant, n=1).tolist() == [1.0]
    assert metrics.de_overlap(change, change, [[False] * 3]).tolist() == [0.0]
    assert metrics.de_precision(change, change, significant, predicted_significant=[[False] * 3]).tolist() == [0.0]


def test_significance_must_be_flags_of_every_entry(sides):
    with pytest.raises(ValueError, match=r"`significant` must be bool.*found float64 of \(6, 50\).*fdr < 0.05"):
        metrics.de_overlap(*sides, np.zeros((6, 50)))
    with pytest.raises(ValueError, match=r"`predicted_significant` must be bool.*found bool of \(1, 50\)"):
        metrics.de_precision(*sides, np.ones((6, 50), dtype=bool), predicted_significant=np.ones(50, dtype=bool))
    with pytest.raises(ValueError, match="expected `n` or `predicted_significant`"):
        metrics.de_precision(*sides, np.ones((6, 50), dtype=bool))
    with pytest.raises(ValueError, match="`n` must be a number above 0"):
        metrics.de_overlap(*sides, np.ones((6, 50), dtype=bool), n=0)
