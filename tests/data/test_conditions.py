import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scperturbmamba.data.conditions import KINDS, Condition, Part, part_names

names = st.one_of(
    st.text(min_size=1, max_size=12),
    st.text(alphabet="A1+@:\\ -()α", min_size=1, max_size=8),
    st.sampled_from(["control", "(+)-JQ1", "compound@home", "chr1:100", "C/C=C\\C", "MYC", "α-amanitin"]),
)
doses = st.one_of(
    st.none(), st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.sampled_from([10.0, 0.0, 1e15])
)
parts = st.builds(Part, names, st.sampled_from(["", *KINDS]), doses)
conditions = st.builds(lambda some: Condition(tuple(some)), st.lists(parts, max_size=4))


@settings(deadline=None)
@given(conditions)
def test_a_label_read_back_is_the_same_condition(condition):
    assert Condition.parse(condition.label) == condition
    assert Condition.parse(condition.label).label == condition.label


@settings(deadline=None)
@given(conditions, conditions)
def test_two_conditions_share_a_label_only_if_they_are_equal(one, other):
    assert (one.label == other.label) == (one == other)


@settings(deadline=None)
@given(st.lists(parts, max_size=5), st.randoms())
def test_the_order_of_parts_and_repeats_do_not_matter(some, random):
    shuffled = [*some, *some[:2]]
    random.shuffle(shuffled)
    assert Condition(tuple(shuffled)) == Condition(tuple(some))
    assert hash(Condition(tuple(shuffled))) == hash(Condition(tuple(some)))


@settings(deadline=None)
@given(st.text(alphabet="AB1+@:\\.e", max_size=12))
def test_any_text_is_either_read_into_a_stable_label_or_refused_by_value_error(text):
    try:
        condition = Condition.parse(text)
    except ValueError:
        return
    assert Condition.parse(condition.label) == condition


def test_the_empty_set_is_the_control():
    assert Condition().label == "control"
    assert Condition.parse("control") == Condition()
    assert Condition.parse("control").is_control
    assert Condition().names == ()


def test_a_drug_called_control_is_not_the_control():
    drug = Condition.of("control")
    assert not drug.is_control
    assert drug.label == "\\control"
    assert Condition.parse("\\control") == drug


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("TP53", (Part("TP53"),)),
        ("TP53+MYC", (Part("MYC"), Part("TP53"))),
        ("dasatinib@10", (Part("dasatinib", "", 10.0),)),
        ("dasatinib@10+TP53", (Part("TP53"), Part("dasatinib", "", 10.0))),
        ("MYC:CRISPRa", (Part("MYC", "CRISPRa"),)),
        ("MYC:drug@1e-3", (Part("MYC", "drug", 0.001),)),
        ("(\\+)-JQ1@0.5", (Part("(+)-JQ1", "", 0.5),)),
        ("compound\\@home", (Part("compound@home"),)),
    ],
)
def test_the_grammar_reads_names_kinds_and_doses(label, expected):
    assert Condition.parse(label).parts == expected


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("", "empty part"),
        ("A+", "empty part"),
        ("+A", "empty part"),
        ("@10", "empty part"),
        ("A\\", "lone backslash"),
        ("drug@ten", "no number"),
        ("drug@", "no number"),
        ("drug@-1", "not negative"),
        ("drug@nan", "not negative"),
        ("drug@inf", "finite"),
        ("drug@1@2", "twice"),
        ("MYC:CRISPRa:drug", "twice"),
        ("chr1:100", "must be one of"),
    ],
)
def test_a_label_that_breaks_the_grammar_is_refused_with_the_remedy(label, said):
    with pytest.raises(ValueError, match=said):
        Condition.parse(label)


@pytest.mark.parametrize("fields", [("", "", None), ("A", "magic", None), ("A", "", -1.0), ("A", "", float("nan"))])
def test_a_part_without_name_or_with_an_impossible_kind_or_dose_cannot_be_made(fields):
    with pytest.raises(ValueError, match="found"):
        Part(*fields)


def test_doses_that_differ_by_rounding_only_are_one_dose():
    assert Part("A", "", 0.1 + 0.2) == Part("A", "", 0.3)
    assert Part("A", "", -0.0).label == "A@0"


@pytest.mark.parametrize("name", list("ABCDEFGHIJ"))
def test_an_undosed_part_differs_from_a_dosed_one_and_comes_first(name):
    both = Condition((Part(name, "", 1e-9), Part(name)))
    assert both.label == f"{name}+{name}@1e-09"
    assert Condition.parse(f"{name}@1e-9+{name}") == both


@settings(deadline=None)
@given(conditions, names, st.sampled_from(["", *KINDS]))
def test_a_part_at_dose_0_is_no_part(condition, name, kind):
    nothing = Part(name, kind, 0.0)
    assert Condition((nothing,)) == Condition() and Condition((nothing,)).label == "control"
    assert Condition((nothing, *condition.parts)) == condition
    assert Condition.parse(nothing.label).is_control
    assert Condition.parse(f"{Part('TP53').label}+{nothing.label}") == Condition.of("TP53")


def test_a_dose_however_small_is_no_control():
    assert Condition.parse("A@1e-300").label == "A@1e-300"
    assert not Condition.parse("A@1e-300").is_control


def test_a_kind_is_given_only_to_parts_without_one():
    condition = Condition.parse("MYC:CRISPRa+TP53").with_kind("knockout")
    assert condition.label == "MYC:CRISPRa+TP53:knockout"
    assert condition.without_kinds().label == "MYC+TP53"


def test_part_names_lists_every_name_once():
    assert part_names([Condition.parse("B+A"), Condition(), Condition.parse("A@3")]) == ["A", "B"]
