import numpy as np
import pytest

from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.baselines import Additive, NoChange, TrainingMean


def asked(*labels, kind="CRISPRi"):
    return [Condition.parse(label).with_kind(kind) for label in labels]


def row_of(bundle, label, context=0):
    wanted = asked(label)[0]
    (row,) = [row for row, one in enumerate(bundle.conditions) if one == wanted and bundle.context[row] == context]
    return bundle.delta[row]


@pytest.mark.parametrize("model", [NoChange, TrainingMean, Additive])
def test_fit_returns_the_model_and_predictions_are_conditions_by_genes(bundle, model):
    fitted = model()
    assert fitted.fit(bundle) is fitted
    found = fitted.predict(asked("G00", "control", "G01+G02"))
    assert found.shape == (3, 12) and found.dtype == np.float32
    assert not found[1].any()


@pytest.mark.parametrize("model", [NoChange, TrainingMean, Additive])
def test_no_baseline_looks_at_the_validation_rows(bundle, model):
    before = model().fit(bundle).predict(asked("G00", "G04", "G02+G03"))
    bundle.delta[bundle.is_val] += 100
    assert np.array_equal(model().fit(bundle).predict(asked("G00", "G04", "G02+G03")), before)


def test_no_change_is_no_change(bundle):
    assert not NoChange().fit(bundle).predict(asked("G00", "OUT1"), context=1).any()


def test_the_training_mean_is_that_of_the_context_with_one_vote_per_condition(bundle):
    model = TrainingMean().fit(bundle)
    for context in (0, 1):
        rows = [row for row in range(9) if bundle.context[row] == context]
        found = model.predict(asked("G11", "G00"), context=context)
        np.testing.assert_allclose(found, np.tile(bundle.delta[rows].mean(0), (2, 1)), rtol=1e-6)


def test_a_context_without_training_rows_takes_the_mean_over_all(bundle):
    bundle.context[:] = 0
    found = TrainingMean().fit(bundle).predict(asked("G11"), context=1)
    np.testing.assert_allclose(found[0], bundle.delta[:9].mean(0), rtol=1e-6)


def test_additive_sums_what_the_parts_do_alone_in_that_context(bundle):
    model = Additive().fit(bundle)
    np.testing.assert_array_equal(model.predict(asked("G00"))[0], row_of(bundle, "G00"))
    total = row_of(bundle, "G00") + row_of(bundle, "G01")
    np.testing.assert_allclose(model.predict(asked("G01+G00"))[0], total, rtol=1e-6)
    total = row_of(bundle, "G00", 1) + row_of(bundle, "G02", 1)
    np.testing.assert_allclose(model.predict(asked("G00+G02"), context=1)[0], total, rtol=1e-6)


def test_a_part_that_was_never_seen_alone_adds_nothing(bundle):
    model = Additive().fit(bundle)
    np.testing.assert_array_equal(model.predict(asked("G00+G09"))[0], row_of(bundle, "G00"))
    assert not model.predict(asked("G09", "G04")).any()
    assert not model.predict(asked("G03"), context=1).any()
    assert not model.predict(asked("G00", kind="CRISPRa")).any()
