"""What plots call models and metrics, which the benchmark upstairs decides."""

import pytest

from scperturbmamba.pl import _names
from scperturbmamba.tl import _ceiling, _comparison, _metric_table, _model_names


def test_plots_and_benchmark_agree_on_the_headline_the_ceilings_and_the_leak():
    assert _names.HEADLINE == _comparison.HEADLINE
    assert _names.CEILINGS == _ceiling.CEILINGS
    assert _names.leaks(_model_names.LEAKING) and _names.leaks(f"{_model_names.LEAKING}:X_pca")


@pytest.mark.parametrize(
    "name",
    [*_model_names.PLAIN, *_model_names.FROM_FEATURES, "knn_shuffled", "ridge:string", "bimamba", "lstm", "predicted"],
)
def test_plots_and_benchmark_agree_on_who_is_a_baseline(name):
    assert _names.is_baseline(name) == _model_names.is_baseline(name)


def test_every_metric_has_a_name_and_points_the_same_way():
    names = [_names.metric_name(name) for name in _metric_table.METRICS]
    assert len(set(names)) == len(names) and not [name for name in names if "_" in name or "," in name]
    assert {name for name in _metric_table.METRICS if _names.low_is_good(name)} == _metric_table.LOW_IS_GOOD


def test_a_feature_source_keeps_its_name():
    assert _names.model_name("knn_shuffled:my_graph") == "knn shuffled:my_graph"
