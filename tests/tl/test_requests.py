import pytest

from scperturbmamba.data.conditions import Condition
from scperturbmamba.tl._requests import read_requests, resolve_context
from scperturbmamba.tl._stored import find_predictor


@pytest.fixture
def model(trained):
    return find_predictor(trained, None, "predictor")[0]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("GATA2", ("GATA2",)),
        ("KLF6+GATA2", ("GATA2", "KLF6")),
        ("GATA2+ctrl", ("GATA2",)),
        ("GATA2_KLF6", ("GATA2", "KLF6")),
        ("GATA2_KO", ("GATA2",)),
        ("non-targeting", ()),
        ("control", ()),
        ("gata2", ("GATA2",)),
        ("MARCH8", ("MARCHF8",)),
    ],
)
def test_every_dialect_of_a_label_is_read(trained, model, label, expected):
    (found,) = read_requests(trained, [label], model)
    assert found.names == expected


def test_parts_get_the_kind_of_the_screen_unless_they_name_one(trained, model):
    plain, named = read_requests(trained, ["GATA2", "GATA2:CRISPRa"], model)
    assert [part.kind for part in plain.parts] == ["CRISPRi"]
    assert [part.kind for part in named.parts] == ["CRISPRa"]


def test_requests_keep_their_order(trained, model):
    labels = ["MYC", "control", "GATA2"]
    found = read_requests(trained, labels, model)
    assert [one.without_kinds() for one in found] == [Condition.parse(label) for label in labels]


def test_nothing_asked_for_is_refused(trained, model):
    with pytest.raises(ValueError, match="at least one perturbation"):
        read_requests(trained, [], model)


def test_contexts_are_those_of_the_training(counted):
    model = find_predictor(counted, None, "predictor")[0]
    assert resolve_context(model, None) == [0, 1]
    assert resolve_context(model, "line_B") == [1]
    with pytest.raises(ValueError, match=r"\['line_A', 'line_B'\].*'line_C'"):
        resolve_context(model, "line_C")
