"""The simple models of doses and contexts, against numbers by hand."""

from dataclasses import replace

import numpy as np
import pytest

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.covariates import Covariates
from scperturbmamba.data.doses import Doses
from scperturbmamba.models.context_baselines import ContextAdditive, ContextMean
from scperturbmamba.models.dose_baselines import DoseMean, LogLinearDose, NearestDose


def drug(name, dose):
    return Condition((Part(name, "drug", dose),))


def screen(rows, contexts=("A",)):
    """A bundle of ``(condition, context, effect)``, two genes that do the same."""
    n = len(rows)
    reference = {}
    for condition, _, _ in rows:
        for part in condition.parts:
            if part.dose is not None:
                reference[part.name] = max(part.dose, reference.get(part.name, 0))
    return Bundle(
        genes=("G1", "G2"),
        conditions=tuple(one for one, _, _ in rows),
        context=np.array([place for _, place, _ in rows]),
        contexts=contexts,
        delta=np.array([[effect, effect] for _, _, effect in rows], np.float32),
        se=np.full((n, 2), 0.1, np.float32),
        n_cells=np.full(n, 10),
        is_val=np.zeros(n, bool),
        control=np.zeros((len(contexts), 2), np.float32),
        covariates=Covariates((), np.zeros((n, 0), np.float32), np.zeros(0, np.float32)),
        features=(),
        doses=Doses(reference),
    )


DRUGS = [(drug("a", 1.0), 0, 1.0), (drug("a", 100.0), 0, 5.0), (drug("b", 0.1), 0, -1.0), (drug("b", 10.0), 0, -3.0)]


def say(model, condition, context=0):
    return model.predict([condition], context=context)[0, 0]


def test_the_nearest_dose_is_that_on_the_log_scale():
    model = NearestDose().fit(screen(DRUGS))
    assert say(model, drug("a", 9.0)) == 1.0
    assert say(model, drug("a", 11.0)) == 5.0
    assert say(model, drug("new", 1.0)) == pytest.approx(0.5)  # the mean
    assert say(model, Condition()) == 0


def test_between_two_doses_lies_a_line_in_the_log_and_beyond_them_it_is_level():
    model = LogLinearDose().fit(screen(DRUGS))
    assert say(model, drug("a", 10.0)) == pytest.approx(3.0)
    assert say(model, drug("a", 1000.0)) == 5.0
    assert say(model, drug("a", 0.01)) == 1.0
    assert say(model, Condition((*drug("a", 10.0).parts, *drug("b", 1.0).parts))) == pytest.approx(3.0 - 2.0)


def test_the_mean_of_a_level_is_over_drugs_at_that_share_of_their_highest_dose():
    model = DoseMean().fit(screen([*DRUGS, (drug("c", 7.0), 0, 9.0)]))
    assert say(model, drug("c", 0.07)) == pytest.approx((1.0 - 1.0) / 2)
    assert say(model, drug("a", 100.0)) == pytest.approx((5.0 - 3.0 + 9.0) / 3)


def test_a_condition_does_elsewhere_what_it_does_here():
    a, b, c = (Condition.of(name) for name in "abc")
    data = screen([(a, 0, 1.0), (b, 0, 3.0), (a, 1, 2.0), (c, 1, 8.0)], contexts=("A", "B"))
    plain, moved = ContextMean().fit(data), ContextAdditive().fit(data)
    assert say(plain, b, context=1) == 3.0
    assert say(moved, b, context=1) == pytest.approx(3.0 - 2.0 + 5.0)
    assert say(plain, c, context=0) == 8.0
    assert say(plain, Condition.of("new"), context=1) == pytest.approx(5.0)  # the mean of that context
    assert say(replace_context(data), a, context=1) == 1.0


def replace_context(data):
    """The model of a screen whose second context holds controls alone."""
    return ContextMean().fit(replace(data.take(np.array([0, 1])), contexts=("A", "B")))
