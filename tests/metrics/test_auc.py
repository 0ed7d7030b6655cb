import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from scperturbmamba import metrics

entries = st.lists(
    st.tuples(st.sampled_from("ABCD"), st.integers(0, 1), st.sampled_from([-1.0, 0.0, 0.5, 2.0, np.inf])), min_size=1
)


@settings(deadline=None)
@given(entries)
def test_areas_agree_with_all_pairs(drawn):
    genes, labels, scores = map(np.array, zip(*drawn))
    found = metrics.auc_per_gene(genes, labels, scores)
    assert sorted(found) == sorted(set(genes.tolist()))
    for gene, area in found.items():
        true, false = (scores[(genes == gene) & (labels == label)] for label in (1, 0))
        wins = [(x > y) + (x == y) / 2 for x in true for y in false]
        assert area == pytest.approx(np.mean(wins) if wins else np.nan, nan_ok=True)
        assert metrics.auc(labels[genes == gene], scores[genes == gene]) == pytest.approx(area, nan_ok=True)
    with_both = [area for area in found.values() if not np.isnan(area)]
    wanted = np.mean(with_both) if with_both else np.nan
    assert metrics.mean_auc_per_gene(genes, labels, scores) == pytest.approx(wanted, nan_ok=True)


def test_a_hundred_thousand_entries_agree_with_sklearn_and_take_no_time():
    random = np.random.default_rng(0)
    genes = np.array([f"G{i}" for i in range(2000)])[random.integers(0, 2000, 100_000)]
    labels = random.random(100_000) < 0.2
    scores = (random.normal(size=100_000) + labels).round(1)
    start = time.perf_counter()
    found = metrics.auc_per_gene(genes, labels, scores)
    assert time.perf_counter() - start < 5
    for gene in ("G0", "G77", "G1999"):
        own = genes == gene
        assert found[gene] == pytest.approx(roc_auc_score(labels[own], scores[own]))
    assert metrics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_a_score_that_knows_the_gene_alone_is_worth_exactly_a_half(offset):
    random = np.random.default_rng(1)
    genes, labels = random.integers(0, 30, 5000), random.integers(0, 2, 5000)
    assert metrics.mean_auc_per_gene(genes, labels, np.full(5000, offset)) == 0.5
    assert metrics.mean_auc_per_gene(genes, labels, random.normal(size=30)[genes] + offset) == 0.5


def test_a_perfect_order_is_one_and_its_reverse_zero():
    labels, scores = [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.3]
    assert metrics.auc(labels, scores) == 1
    assert metrics.auc(labels, np.negative(scores)) == 0


def test_entries_without_a_score_are_left_out():
    genes, labels = ["A", "A", "A", "B", "B", "C"], [1, 0, 0, 1, 0, 1]
    found = metrics.auc_per_gene(genes, labels, [0.5, 0.1, np.nan, np.nan, 0.2, np.nan])
    assert found["A"] == 1 and np.isnan(found["B"]) and np.isnan(found["C"])
    assert np.isnan(metrics.mean_auc_per_gene(genes, labels, np.full(6, np.nan)))
    assert np.isnan(metrics.auc([1, 1], [0.1, 0.2]))
    assert np.isnan(metrics.auc([], []))


def test_entries_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"labels must be 0 or 1; found \[2.0\]"):
        metrics.auc([0, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match=r"of one length; found \(2,\) and \(3,\)"):
        metrics.auc([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"for \(1,\)"):
        metrics.auc_per_gene(["A"], [0, 1], [0.1, 0.2])
