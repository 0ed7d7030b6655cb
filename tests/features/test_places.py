import gzip

import numpy as np
import pandas as pd
import pytest

from scperturbmamba.features.genome import UNKNOWN
from scperturbmamba.features.places import find_places, installed_genome, places_of, read_gtf, read_places

pyensembl = pytest.importorskip("pyensembl")

GENES = [("TP53", "ENSG00000141510", "17", 7661779, 7687550), ("MYC", "ENSG00000136997", "8", 127735434, 127742951)]


def gtf_text(genes=GENES, *, gene_lines=True):
    lines = ["#!genome-build GRCh38.p14"]
    for name, gene_id, chromosome, start, end in genes:
        own = f'gene_id "{gene_id}"; gene_name "{name}"; gene_source "ensembl"; gene_biotype "protein_coding";'
        transcript = f'{own} transcript_id "{gene_id.replace("G", "T", 1)}"; transcript_biotype "protein_coding";'
        place = f"{start}\t{end}\t.\t+\t."
        if gene_lines:
            lines.append(f"{chromosome}\tensembl\tgene\t{place}\t{own}")
        lines.append(f"{chromosome}\tensembl\ttranscript\t{place}\t{transcript}")
        lines.append(f'{chromosome}\tensembl\texon\t{place}\t{transcript} exon_number "1"; exon_id "E{gene_id}";')
    return "\n".join(lines) + "\n"


@pytest.fixture
def no_network(monkeypatch):
    """Fail where anything would be fetched."""

    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(pyensembl.Genome, "download", refuse)


@pytest.fixture
def installed(tmp_path, monkeypatch, no_network):
    """A pyensembl cache that holds all files of release 110, with two genes."""
    monkeypatch.setenv("PYENSEMBL_CACHE_DIR", str(tmp_path))
    for path in map(str, pyensembl.EnsemblRelease(110).required_local_files()):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt") as file:
            file.write(gtf_text() if ".gtf" in path else ">ENST00000141510.1\nACGT\n")
    return tmp_path


@pytest.mark.parametrize(
    ("chromosome", "start"),
    [("chromosome", "start"), ("chrom", "Start"), ("chr", "start_position"), ("seqname", "gene_start"),
     ("chromosome_name", "start_position"), ("Chromosome/scaffold name", "Gene start (bp)")],
)  # fmt: skip
def test_the_usual_spellings_of_the_columns_are_read(chromosome, start):
    table = pd.DataFrame({chromosome: ["chr17", "8"], start: [7661779, 127735434]}, index=["TP53", "MYC"])
    places = places_of(table)
    assert places.loc["TP53", ["chromosome", "start"]].tolist() == [16, 7661779]
    assert places.loc["MYC", "chromosome"] == 7


def test_a_table_without_places_is_none_and_refused_as_a_file():
    table = pd.DataFrame({"chromosome": ["1"], "length": [5]}, index=["A"])
    assert places_of(table) is None
    with pytest.raises(ValueError, match=r"starts.*found \['chromosome', 'length'\]"):
        read_places(table)


def test_names_come_from_the_symbol_and_where_it_is_missing_from_the_id():
    table = pd.DataFrame({"ensgene": ["ENSG1", "ENSG2"], "symbol": ["A", None], "chr": ["1", "2"], "start": [1, 2]})
    assert list(places_of(table).index) == ["A", "ENSG2"]


def test_a_gene_without_a_symbol_in_the_index_is_named_by_its_id():
    table = pd.DataFrame({"gene_id": ["ENSG1", "ENSG2"], "chr": ["1", "2"], "start": [1, 2]}, index=["A", None])
    assert places_of(table)["start"].to_dict() == {"A": 1, "ENSG2": 2}


def test_of_several_rows_one_on_a_chromosome_is_kept():
    table = pd.DataFrame({"chr": ["scaffold", "Y", "X"], "start": [9, 2, 1]}, index=["CD99", "CD99", "CD99"])
    assert places_of(table)[["chromosome", "start"]].values.tolist() == [[22, 1]]


def test_a_place_with_half_of_it_missing_is_no_place():
    table = pd.DataFrame({"chr": ["1", None], "start": [np.nan, 5]}, index=["A", "B"])
    assert places_of(table)["chromosome"].tolist() == [UNKNOWN, UNKNOWN]


def test_a_csv_a_tsv_and_a_table_give_the_same(tmp_path):
    table = pd.DataFrame(
        {"chromosome": ["17", "X"], "start": [5, 6], "ensembl_id": ["E1", "E2"]}, index=["TP53", "MECP2"]
    )
    table.to_csv(tmp_path / "places.csv")
    table.to_csv(tmp_path / "places.tsv.gz", sep="\t")
    for path in (tmp_path / "places.csv", str(tmp_path / "places.tsv.gz")):
        pd.testing.assert_frame_equal(
            read_places(path)[["chromosome", "start"]], read_places(table)[["chromosome", "start"]]
        )


@pytest.mark.parametrize("name", ["genes.gtf", "genes.gtf.gz"])
def test_a_gtf_gives_the_places_of_its_genes_by_symbol_and_by_id(tmp_path, name):
    opened = gzip.open if name.endswith("gz") else open
    with opened(tmp_path / name, "wt") as file:
        file.write(gtf_text())
    places = read_places(tmp_path / name)
    assert places.loc["MYC", ["chromosome", "start"]].tolist() == [7, 127735434]
    found = find_places(["ENSG00000141510.18", "MYC", "nobody"], [places])
    assert found["chromosome"].tolist() == [16, 7, UNKNOWN]


def test_a_gtf_without_gene_lines_starts_a_gene_at_its_first_transcript(tmp_path):
    early = [("TP53", "ENSG00000141510", "17", 7661000, 7687550)]
    (tmp_path / "genes.gtf").write_text(gtf_text([*GENES, *early], gene_lines=False))
    table = read_gtf(tmp_path / "genes.gtf").set_index("gene_name")
    assert table.loc["TP53", "start"] == 7661000
    assert len(table) == 2


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_places(tmp_path / "nowhere.csv")


def test_the_first_source_that_knows_a_gene_places_it():
    first = pd.DataFrame({"chromosome": ["1", None], "start": [10, 0]}, index=["A", "B"])
    second = pd.DataFrame({"chromosome": ["2", "3", "4"], "start": [20, 30, 40]}, index=["A", "B", "MARCHF8"])
    found = find_places(["A", "B", "MARCH8", "D"], [places_of(first), places_of(second)])
    assert found["chromosome"].tolist() == [0, 2, 3, UNKNOWN]
    assert found["start"].tolist() == [10, 30, 40, 0]


def test_installed_ensembl_data_are_read_without_a_network(installed):
    genome = installed_genome()
    assert genome.release == 110
    places = read_places(genome)
    assert find_places(["TP53", "ENSG00000136997"], [places])["start"].tolist() == [7661779, 127735434]


def test_a_genome_of_the_user_s_own_is_read(tmp_path):
    (tmp_path / "mini.gtf").write_text(gtf_text())
    genome = pyensembl.Genome(
        reference_name="GRCh38", annotation_name="mini", gtf_path_or_url=str(tmp_path / "mini.gtf"),
        cache_directory_path=str(tmp_path / "cache"),
    )  # fmt: skip
    assert read_places(genome).loc["TP53", "chromosome"] == 16


def test_nothing_is_fetched_unless_asked_for(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("PYENSEMBL_CACHE_DIR", str(tmp_path))
    assert installed_genome() is None
    with pytest.raises(AssertionError, match="a download was tried"):
        installed_genome(download=True)


@pytest.mark.data
def test_known_genes_lie_where_they_lie(shared_data):
    places = read_places(shared_data / "knowledge" / "grch38_protein_coding_genes.csv.gz")
    names = ["TP53", "ENSG00000141510.18", "SRY", "MECP2", "MARCH8", "MT-ND1"]
    found = find_places(names, [places])
    assert found["chromosome"].tolist() == [16, 16, 23, 22, 9, UNKNOWN]
    assert found.loc["TP53", "start"] == pytest.approx(7.66e6, rel=0.01)
