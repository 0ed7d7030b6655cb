from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.kinds import Kinds

TWO_WAYS = [
    Condition.parse("MYC:CRISPRa"), Condition.parse("MYC:knockout"), Condition.parse("TP53:knockout"),
    Condition.parse("TP53:knockout+KLF1:knockout"),
]  # fmt: skip


def test_a_label_shows_the_kind_only_of_names_under_two_kinds():
    kinds = Kinds.of(TWO_WAYS)
    assert [kinds.label(one) for one in TWO_WAYS] == ["MYC:CRISPRa", "MYC:knockout", "TP53", "KLF1+TP53"]


def test_a_part_without_a_kind_gets_that_of_its_name_else_the_usual_one():
    kinds = Kinds.of([*TWO_WAYS, Condition.parse("SPI1:CRISPRa")])
    assert kinds.complete(Condition.parse("SPI1")).label == "SPI1:CRISPRa"
    assert kinds.complete(Condition.parse("GATA1")).label == "GATA1:knockout"
    assert kinds.complete(Condition.parse("GATA1:CRISPRi")).label == "GATA1:CRISPRi"


def test_a_screen_that_says_nothing_of_kinds_adds_none():
    kinds = Kinds.of([Condition.parse("A"), Condition.parse("A+B")])
    assert kinds.complete(Condition.parse("C")).label == "C"
    assert Kinds.of([]).usual == ""
