"""What plots call models and metrics, and that the models upstairs are those of which the words speak."""

import pytest

from scperturbmamba import _judging
from scperturbmamba.pl import _names
from scperturbmamba.tl import _metric_table, _model_names


def test_the_models_are_those_that_the_words_name():
    assert tuple(_model_names.WITHOUT_FEATURES) == _judging.WITHOUT_FEATURES
    assert tuple(_model_names.FROM_FEATURES) == _judging.WITH_FEATURES
    assert set(_judging.HEADLINE) < set(_metric_table.METRICS)
    assert _judging.leaks(_judging.LEAKING) and _judging.leaks(f"{_judging.LEAKING}:X_pca")


@pytest.mark.parametrize(
    ("name", "simple"),
    [
        *(
            (name, True)
            for name in (*_model_names.WITHOUT_FEATURES, *_model_names.FROM_FEATURES, "knn_shuffled", "ridge:string")
        ),
        *((name, False) for name in (*_model_names.NETWORKS, _model_names.CORE, "predicted", _judging.LEAKING)),
    ],
)
def test_it_is_known_who_is_a_baseline(name, simple):
    assert _judging.is_baseline(name) == simple


def test_every_metric_has_a_name_and_points_the_same_way():
    names = [_names.metric_name(name) for name in _metric_table.METRICS]
    assert len(set(names)) == len(names) and not [name for name in names if "_" in name or "," in name]
    assert {name for name in _metric_table.METRICS if _names.low_is_good(name)} == _metric_table.LOW_IS_GOOD


def test_a_feature_source_keeps_its_name():
    assert _names.model_name("knn_shuffled:my_graph") == "knn shuffled:my_graph"
