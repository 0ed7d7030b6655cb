import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scperturbmamba.features.names import canonical_symbol, resolve_genes
from scperturbmamba.features.renames import RENAMES


def one(name, known, **kwargs):
    resolved, report = resolve_genes([name], known, **kwargs)
    return resolved.iloc[0], report["how"].iloc[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MARCH8", "MARCHF8"), ("SEPT7", "SEPTIN7"), ("DEC1", "DELEC1"), ("MARC1", "MTARC1"), ("SEP15", "SELENOF"),
        ("FAM49B", "CYRIB"), ("C8orf59", "RBIS"), ("WDYHV1", "NTAQ1"), ("MLL", "KMT2A"), ("SKIV2L", "SKIC2"),
        ("NARS", "NARS1"), ("ATP5A1", "ATP5F1A"), ("HIST1H1C", "H1-2"), ("CYR61", "CCN1"), ("C14orf2", "ATP5MJ"),
    ],
)  # fmt: skip
def test_a_rename_is_read_both_ways(old, new):
    assert one(old, [new, "TP53"]) == (new, "alias")
    assert one(new, [old, "TP53"]) == (old, "alias")


def test_a_name_in_both_lists_is_itself_even_where_it_is_also_an_old_name():
    assert one("MARC1", ["MARC1", "MTARC1"]) == ("MARC1", "exact")


def test_versions_of_ensembl_ids_are_cut_on_either_side():
    assert one("ENSG00000000003.15", ["ENSG00000000003"]) == ("ENSG00000000003", "version cut")
    assert one("ENSG00000000003", ["ENSG00000000003.2"]) == ("ENSG00000000003.2", "version cut")
    assert one("ENSG00000000003.15", ["ENSG00000000003.2"]) == ("ENSG00000000003.2", "version cut")


def test_the_number_of_a_clone_is_no_version():
    assert one("AC004988.1", ["AC004988"]) == (None, "unknown")


def test_ensembl_ids_and_symbols_meet_in_a_table():
    table = pd.DataFrame({"ensembl_id": ["ENSG00000141510", "ENSG00000136997"]}, index=["TP53", "MYC"])
    assert one("ENSG00000141510.18", table) == ("TP53", "ensembl")
    by_id = pd.DataFrame({"symbol": ["TP53", None]}, index=["ENSG00000141510", "ENSG00000136997"])
    assert one("TP53", by_id) == ("ENSG00000141510", "alias")
    assert one("tp53", by_id)[0] == "ENSG00000141510"


def test_an_old_symbol_finds_the_ensembl_row_of_the_new_one():
    by_id = pd.DataFrame({"gene_name": ["MARCHF8"]}, index=["ENSG00000165406"])
    assert one("MARCH8", by_id) == ("ENSG00000165406", "alias")


def test_case_and_punctuation_are_repaired():
    assert one("tp53", ["TP53"]) == ("TP53", "case")
    assert one("C8ORF76", ["C8orf76"]) == ("C8orf76", "case")
    assert one(" HLA.A ", ["HLA-A"]) == ("HLA-A", "case")


@pytest.mark.parametrize(
    ("date", "symbol"),
    [("8-Mar", "MARCHF8"), ("Mar-08", "MARCH8"), ("7-Sep", "SEPTIN7"), ("1-Dec", "DEC1"), ("15-Sep", "SELENOF"),
     ("2023-09-07", "SEPT7"), ("2006-03-08 00:00:00", "MARCHF8")],
)  # fmt: skip
def test_a_date_made_by_a_spreadsheet_is_read_as_the_symbol(date, symbol):
    assert one(date, [symbol, "TP53"]) == (symbol, "alias")


@pytest.mark.parametrize("name", ["8-May", "2023-05-08", "MARCH99", "not-a-gene", ""])
def test_what_is_no_gene_of_the_list_stays_unknown(name):
    assert one(name, ["TP53", "MARCHF8", "SEPTIN7"]) == (None, "unknown")


def test_a_date_that_two_genes_could_have_become_is_left_unknown_and_told():
    resolved, report = resolve_genes(["1-Mar"], ["MARCHF1", "MTARC1"])
    assert resolved.iloc[0] is None
    assert report["ambiguous"].iloc[0] == "MARCHF1, MTARC1"


def test_names_that_differ_by_case_only_are_not_guessed_between():
    assert one("tP53", ["TP53", "Tp53"]) == (None, "unknown")


def test_the_user_s_aliases_hold_both_ways_and_before_case():
    aliases = {"p53": "TP53", "ENSG00000136997": ["MYC", "c-Myc"]}
    assert one("p53", ["TP53", "P53"], aliases=aliases) == ("TP53", "alias")
    assert one("TP53", ["p53"], aliases=aliases) == ("p53", "alias")
    assert one("c-Myc", ["ENSG00000136997.4"], aliases={"c-Myc": "ENSG00000136997.4"})[1] == "ensembl"
    assert one("ENSG00000136997", ["MYC"], aliases=aliases) == ("MYC", "ensembl")


def test_an_alias_outside_the_list_does_not_hide_the_next_one():
    assert one("A", ["C"], aliases={"A": ["B", "C"]}) == ("C", "alias")


def test_the_report_has_a_row_for_each_name_in_its_order():
    resolved, report = resolve_genes(["MYC", "nobody", "MYC"], ["MYC"])
    assert list(resolved.index) == ["MYC", "nobody", "MYC"]
    assert list(report["how"]) == ["exact", "unknown", "exact"]


def test_no_old_name_is_claimed_by_two_genes():
    groups = {id(group): group for group in RENAMES.values()}.values()
    names = [name.upper() for group in groups for name in group]
    assert len(names) == len(set(names))
    assert all(len(group) >= 2 for group in groups)


def test_all_names_of_a_gene_have_one_canonical_spelling():
    for name, group in RENAMES.items():
        assert canonical_symbol(name) == group[-1].upper()
    assert canonical_symbol("ENSG00000141510.18") == canonical_symbol("ensg00000141510")


_NAMES = st.one_of(
    st.sampled_from(["MARCH8", "MARCHF8", "8-Mar", "1-Mar", "MTARC1", "MARCH1", "tp53", "TP53", "ENSG00000000003.15"]),
    st.text(alphabet="ABab01-._ ", max_size=6),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_NAMES, max_size=12), st.lists(_NAMES, max_size=12))
def test_resolving_twice_changes_nothing_and_gives_known_names_only(names, known):
    resolved, report = resolve_genes(names, known)
    found = [name for name in resolved if name is not None]
    assert set(found) <= set(known)
    again, _ = resolve_genes(found, known)
    assert list(again) == found
    assert ((report["how"] == "unknown") == report["resolved"].isna()).all()
    assert all(resolved[name] == name for name in set(names) & set(known) if isinstance(resolved[name], str))


@settings(max_examples=100, deadline=None)
@given(st.lists(_NAMES, max_size=8), st.lists(_NAMES, max_size=8), st.randoms())
def test_the_order_of_the_reference_does_not_matter(names, known, random):
    shuffled = random.sample(known, len(known))
    assert list(resolve_genes(names, known)[0]) == list(resolve_genes(names, shuffled)[0])


@pytest.mark.data
def test_every_newest_name_is_current_and_no_older_one_is(shared_data):
    table = pd.read_csv(shared_data / "knowledge" / "grch38_protein_coding_genes.csv.gz")
    current = set(table["symbol"].dropna())
    groups = {id(group): group for group in RENAMES.values()}.values()
    newest = {group[-1] for group in groups}
    assert newest - current <= {"DELEC1", "SEPTIN13"}  # a non-coding gene, a pseudogene
    assert not {name for group in groups for name in group[:-1]} & current


@pytest.mark.data
def test_the_old_names_of_a_screen_of_2020_are_all_found(shared_data):
    import anndata

    genes = anndata.read_h5ad(shared_data / "data" / "schraivogel2020_tapseq_k562_guides.h5ad").var_names
    table = pd.read_csv(shared_data / "knowledge" / "grch38_protein_coding_genes.csv.gz")
    resolved, report = resolve_genes(genes, table["symbol"].dropna())
    assert resolved.notna().all()
    assert set(report.loc[report["how"] != "exact", "name"]) == {"C8orf59", "FAM49B", "WDYHV1"}
