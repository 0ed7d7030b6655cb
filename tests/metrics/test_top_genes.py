import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scperturbmamba import metrics

small = st.sampled_from([0.0, 1.0, -1.0, 2.0, -2.0, np.nan, np.inf])


@given(arrays(np.float64, (2, 9), elements=small), st.integers(1, 12))
def test_top_genes_agree_with_a_stable_sort(strength, n):
    for top, row in zip(metrics.top_genes(strength, n), strength):
        wanted = sorted(range(9), key=lambda gene: -abs(row[gene]) if np.isfinite(row[gene]) else 1)[:n]
        assert top.tolist() == wanted


@given(arrays(np.float64, 9, elements=small), st.integers(1, 12))
def test_highest_genes_agree_with_a_stable_sort(control, n):
    wanted = sorted(range(9), key=lambda gene: -control[gene] if np.isfinite(control[gene]) else 99)[:n]
    assert metrics.highest_genes(control, n).tolist() == wanted


def test_a_metric_on_top_genes_is_the_metric_on_those_columns(sides):
    a, b = sides
    a[0, np.abs(a[0]).argmax()] = np.nan
    for value, x, y in zip(metrics.mse(*metrics.on_top_genes(a, b, n=5)), a, b):
        top = np.argsort(-np.where(np.isnan(x), 0, np.abs(x)))[:5]
        assert value == pytest.approx(np.mean((x[top] - y[top]) ** 2))


def test_the_strength_chooses_and_a_gene_without_a_pair_is_never_chosen(sides):
    a, b = sides
    strength = np.arange(50.0)
    b[:, 49] = np.nan
    top_a, top_b = metrics.on_top_genes(a, b, n=3, strength=strength)
    np.testing.assert_array_equal(top_a, a[:, [48, 47, 46]])
    np.testing.assert_array_equal(top_b, b[:, [48, 47, 46]])


def test_all_genes_are_top_where_there_are_fewer(sides):
    np.testing.assert_allclose(metrics.mse(*metrics.on_top_genes(*sides, n=1000)), metrics.mse(*sides))


def test_a_choice_that_cannot_be_made_is_refused(sides):
    with pytest.raises(ValueError, match="`n` must be a number above 0; found 0"):
        metrics.top_genes(sides[0], 0)
    with pytest.raises(ValueError, match=r"one profile \(genes,\); found shape \(6, 50\)"):
        metrics.highest_genes(sides[0])
    with pytest.raises(ValueError, match=r"`strength` must be \(6, 50\)"):
        metrics.on_top_genes(*sides, n=3, strength=np.ones((6, 2)))
