import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scperturbmamba.data.conditions import KINDS, Condition, Part
from scperturbmamba.data.dialects import kind_of, looks_like_column_of, read_label

KNOWN = {"A", "B", "TP53", "MYC", "HLA_A", "CBL", "CNN1"}


def read(label, known=KNOWN, **options):
    return read_label(label, known, **options).condition.label


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("ctrl", "control"),
        ("A+ctrl", "A"),
        ("ctrl+A", "A"),
        ("B+A", "A+B"),
        ("A + B", "A+B"),
        ("A549_CBL+CNN1_1+1", "CBL+CNN1"),
        ("A549_CBL+ctrl_1+1", "CBL"),
        ("A549_ctrl_1", "control"),
        ("K562_rep_2_ctrl+TP53_1+1", "TP53"),
        ("K562_---_TP53+ctrl", "TP53"),
        ("K562_---_TP53+MYC", "MYC+TP53"),
        ("K562_---_control", "control"),
        ("non-targeting", "control"),
        ("A_B", "A+B"),
        ("A_ctrl", "A"),
        ("A|B", "A+B"),
        ("A;B", "A+B"),
        ("A,B", "A+B"),
        ("A__B", "A+B"),
    ],
)
def test_genes_and_their_combinations_are_read_in_every_dialect(label, expected):
    assert read(label) == expected


@pytest.mark.parametrize(
    "name",
    [
        "Y_RNA",
        "HLA_A",
        "A_unknown",
        "unknown_A",
        "RP11_2_1",
        "TP53_g1_1",
        "MT_CO1",
        "A_",
        "_A",
        "drug_1",
        "TP53_ctrl_1",
    ],
)
def test_an_underscore_survives_unless_it_joins_known_names(name):
    assert read(name) == name


def test_an_underscore_label_of_two_strangers_survives():
    assert read("KLF1_MAP2K6", known=set()) == "KLF1_MAP2K6"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("NegCtrl0_NegCtrl0__NegCtrl0_NegCtrl0", "control"),
        ("NegCtrl11_NegCtrl0__NegCtrl11_NegCtrl0", "control"),
        ("KLF1_NegCtrl0__KLF1_NegCtrl0", "KLF1"),
        ("NegCtrl10_KLF1__NegCtrl10_KLF1", "KLF1"),
        ("KLF1_MAP2K6__KLF1_MAP2K6", "KLF1+MAP2K6"),
        ("NegCtrl0", "control"),
    ],
)
def test_the_raw_labels_of_norman_are_read_without_any_known_name(label, expected):
    assert read(label, known=set()) == expected


@pytest.mark.parametrize(
    ("label", "name", "kind"),
    [
        ("BRCA1_KO", "BRCA1", "knockout"),
        ("TP53-KO", "TP53", "knockout"),
        ("MYC_activation", "MYC", "CRISPRa"),
        ("MYC_CRISPRi", "MYC", "CRISPRi"),
        ("MYC_KD", "MYC", "CRISPRi"),
        ("SPI1_OE", "SPI1", "overexpression"),
        ("MYC:activation", "MYC", "CRISPRa"),
        ("MYC:CRISPRa", "MYC", "CRISPRa"),
        ("MYC:knockout", "MYC", "knockout"),
    ],
)
def test_what_was_done_to_a_gene_is_read_from_its_label(label, name, kind):
    assert read_label(label, KNOWN).condition == Condition((Part(name, kind),))


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("dasatinib@10", (Part("dasatinib", "", 10.0),)),
        ("dasatinib @ 10", (Part("dasatinib", "", 10.0),)),
        ("TP53+dasatinib@0.5", (Part("TP53"), Part("dasatinib", "", 0.5))),
        ("(+)-JQ1", (Part("(+)-JQ1"),)),
        ("(+)-JQ1@5", (Part("(+)-JQ1", "", 5.0),)),
        ("(+)-JQ1+TP53", (Part("(+)-JQ1"), Part("TP53"))),
        ("compound@home", (Part("compound@home"),)),
        ("compound@10 homes", (Part("compound@10 homes"),)),
        ("compound@10m", (Part("compound@10m"),)),
        ("IL2+", (Part("IL2+"),)),
        ("A+(B", (Part("A+(B"),)),
        ("chr1:100-200", (Part("chr1:100-200"),)),
        ("CC[N+](C)(C)C/C=C\\C", (Part("CC[N+](C)(C)C/C=C\\C"),)),
        ("(-)-Epicatechin (gallate)", (Part("(-)-Epicatechin (gallate)"),)),
        ("DMSO@0.1", ()),
        ("JQ1:drug@5", (Part("JQ1", "drug", 5.0),)),
    ],
)
def test_drugs_keep_their_names_and_doses(label, expected):
    assert read_label(label, KNOWN).condition == Condition(expected)


@pytest.mark.parametrize(
    ("label", "expected", "unit"),
    [
        ("[('crizotinib', 0.05, 'uM')]", (Part("crizotinib", "drug", 0.05),), "uM"),
        ("('crizotinib', 0.05, 'uM')", (Part("crizotinib", "drug", 0.05),), "uM"),
        ("[('a', 1, 'nM'), ('b', 2, 'nM')]", (Part("a", "drug", 1.0), Part("b", "drug", 2.0)), "nM"),
        ("[('a', 1, 'nM'), ('b', 2, 'uM')]", (Part("a", "drug", 0.001), Part("b", "drug", 2.0)), "uM"),
        (
            "[('a', 1, 'nM'), ('b', 2, 'µM'), ('c', 3, 'nm')]",
            (Part("a", "drug", 1.0), Part("b", "drug", 2000.0), Part("c", "drug", 3.0)),
            "nM",
        ),
        ("[('a', 1, 'nM'), ('b', 2, 'ng/mL')]", (Part("a", "drug", 1.0), Part("b", "drug", 2.0)), ""),
        ("[('a', 1, 'nM'), ('b', 2)]", (Part("a", "drug", 1.0), Part("b", "drug", 2.0)), ""),
        ("dasatinib@10nM", (Part("dasatinib", "", 10.0),), "nM"),
        ("dasatinib@10 µM", (Part("dasatinib", "", 10.0),), "uM"),
        ("dasatinib@1.5e-2 mg/kg", (Part("dasatinib", "", 0.015),), "mg/kg"),
        ("(+)-JQ1@5%+TP53", (Part("(+)-JQ1", "", 5.0), Part("TP53")), "%"),
        ("TP53+JQ1:drug@0.5 uM", (Part("TP53"), Part("JQ1", "drug", 0.5)), "uM"),
        ("a@1 uM+b@500 nM", (Part("a", "", 1.0), Part("b", "", 0.5)), "uM"),
        ("dasatinib@0 nM", (), ""),
        ("a@0", (), ""),
        ("TP53+a@0 nM", (Part("TP53"),), ""),
        ("x\\+y@0", (), ""),
        ("TP53+x\\+y@0+a\\@b@2", (Part("TP53"), Part("a@b", "", 2.0)), ""),
        ("[('DMSO_TF', 0.0, 'uM')]", (), ""),
        ("[('a',)]", (Part("a", "drug"),), ""),
    ],
)
def test_lists_of_drug_dose_and_unit_are_read(label, expected, unit):
    reading = read_label(label, KNOWN)
    assert (reading.condition, reading.unit) == (Condition(expected), unit)


@pytest.mark.parametrize("label", ["[('a', 0.05, uM)]", "[('a', 'much', 'uM')]", "[('a', -1, 'uM')]"])
def test_a_list_that_cannot_be_read_is_refused(label):
    with pytest.raises(ValueError, match="found|Write"):
        read_label(label, KNOWN)


def test_a_unit_that_is_not_known_and_units_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match=r"one of \['M', 'mM'.*found 'parsec'"):
        read_label("[('a', 1, 'parsec')]", KNOWN)
    with pytest.raises(ValueError, match=r"cannot be converted: \['mg/kg', 'uM'\]"):
        read_label("a@1uM+a@3mg/kg", KNOWN)


def test_a_label_is_written_in_the_unit_of_the_screen():
    reading = read_label("a@1 uM+b@500 nM+c@3", KNOWN)
    assert reading.in_units({"a": "nM", "b": "nM", "c": "nM"}).label == "a@1000+b@500+c@3"
    assert reading.in_units({"a": "nM"}).label == "a@1000+b@0.5+c@3"
    with pytest.raises(ValueError, match="'uM' .molar. cannot be converted to 'mg/kg' .body dose."):
        reading.in_units({"a": "mg/kg"})


@pytest.mark.parametrize(
    ("label", "separator", "expected"),
    [
        ("A_B", "_", "A+B"),
        ("X_Y_ctrl", "_", "X+Y"),
        ("A--B", "--", "A+B"),
        ("A+B", "_", "A\\+B"),
        ("_", "_", "_"),
        ("ctrl", "_", "control"),
    ],
)
def test_a_separator_given_by_the_user_rules(label, separator, expected):
    assert read(label, separator=separator) == expected


@settings(deadline=None)
@example("1+ \\:")
@given(st.text(alphabet="AB_+@:\\()1 -K", min_size=1, max_size=10).filter(str.strip))
def test_reading_a_reading_changes_nothing(label):
    once = read_label(label, KNOWN).condition
    assert Condition.parse(once.label) == once
    assert read_label(once.label, KNOWN).condition == once


escaped = st.text(alphabet="AB1α+:@\\()", min_size=1, max_size=8)


@settings(deadline=None)
@given(st.lists(st.builds(Part, escaped, st.sampled_from(["", *KINDS])), min_size=1, max_size=3))
def test_a_label_with_escapes_is_read_as_our_own(parts):
    condition = Condition(tuple(parts))
    if "\\" in condition.label:
        assert read_label(condition.label, set()).condition == condition


def test_words_for_what_was_done_name_a_kind():
    words = {"KO": "knockout", "Cas9": "knockout", "CRISPR-cas9": "knockout", "CRISPRi": "CRISPRi", "KD": "CRISPRi",
             "crispr_a": "CRISPRa", "compound": "drug", "ORF": "overexpression", "TP53": "", "": ""}  # fmt: skip
    assert {word: kind_of(word) for word in words} == words
    assert {kind: kind_of(kind) for kind in KINDS} == {kind: kind for kind in KINDS}


def test_the_name_of_a_column_suggests_a_kind():
    columns = {"guide_identity": "knockout", "sgRNA": "knockout", "gene_target": "knockout", "crispr": "knockout",
               "crispri_target": "CRISPRi", "CRISPRa_gene": "CRISPRa", "drug": "drug", "compound": "drug",
               "treatment": "drug", "dose": "drug", "perturbation": "", "condition": ""}  # fmt: skip
    assert {column: looks_like_column_of(column) for column in columns} == columns
