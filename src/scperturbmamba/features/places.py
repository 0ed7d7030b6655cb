"""Read where genes lie: from a table in any of the common spellings, a GTF, or pyensembl's installed data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scperturbmamba._checks import optional_import
from scperturbmamba.features.genome import UNKNOWN, chromosome_codes
from scperturbmamba.features.names import ID_COLUMNS, SYMBOL_COLUMNS, header, resolve_genes
from scperturbmamba.features.tables import holds_words, read_table

_CHROMOSOME = (
    "chromosome", "chrom", "chr", "seqname", "seqnames", "seqid", "contig", "chromosomename",
    "chromosomescaffoldname", "genechr", "genechrom",
)  # fmt: skip
_START = ("start", "startposition", "genestart", "genestartbp", "chromstart", "txstart", "startbp", "startpos")
_GTF = ("seqname", "source", "feature", "start", "end", "score", "strand", "frame", "attribute")
_OLDEST_GRCH38 = 76  # the first Ensembl release on this assembly


def read_places(source: Any) -> pd.DataFrame:
    """Return genes × (``chromosome`` code, ``start``, further names), each gene once.

    Parameters
    ----------
    source
        A table, the path of a CSV, TSV or GTF (``.gz`` too), or a ``pyensembl.Genome``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The table has no column of chromosomes or none of starts.
    """
    if hasattr(source, "genes") and not isinstance(source, pd.DataFrame):
        return _tidy(_pyensembl_table(source))
    if not isinstance(source, pd.DataFrame):
        source = read_gtf(source) if _is_gtf(Path(source)) else read_table(source)
    places = places_of(source)
    if places is None:
        msg = (
            "a table of gene positions needs a column of chromosomes (`chromosome`, `chr`, `seqname`) and one of "
            f"starts (`start`, `start_position`); found {list(map(str, source.columns))[:12]}."
        )
        raise ValueError(msg)
    return places


def places_of(table: pd.DataFrame) -> pd.DataFrame | None:
    """Return the places that a table holds, or None where it lacks chromosomes or starts."""
    by_header = {header(column): column for column in reversed(table.columns)}
    chromosome = next((by_header[name] for name in _CHROMOSOME if name in by_header), None)
    start = next((by_header[name] for name in _START if name in by_header), None)
    if chromosome is None or start is None:
        return None
    names, others = _names(table, by_header)
    places = pd.DataFrame(
        {
            "chromosome": chromosome_codes(table[chromosome].astype(object)),
            "start": pd.to_numeric(table[start], errors="coerce").to_numpy(dtype=np.float64),
        },
        index=pd.Index(names, dtype=object),
    )
    for column in others:
        places[str(column)] = table[column].astype(object).to_numpy()
    return _tidy(places)


def read_gtf(path: str | Path) -> pd.DataFrame:
    """Return the genes of a GTF: ``gene_name``, ``gene_id``, ``chromosome``, ``start``.

    A GTF without gene lines gives each gene the first base of its transcripts or exons.
    """
    columns = {"seqname": str, "feature": str, "start": np.int64, "attribute": str}
    chunks = pd.read_csv(
        path, sep="\t", comment="#", header=None, names=list(_GTF), usecols=list(columns), dtype=columns,
        chunksize=500_000, quoting=3,
    )  # fmt: skip
    lines = pd.concat([chunk[chunk["feature"].isin(["gene", "transcript", "exon"])] for chunk in chunks])
    genes = lines[lines["feature"] == "gene"]
    genes = (genes if len(genes) else lines).copy()
    for name in ("gene_name", "gene_id"):
        genes[name] = genes["attribute"].str.extract(rf'\b{name} "([^"]*)"', expand=False)
    genes = genes.dropna(subset="gene_id").sort_values("start", kind="stable")
    genes = genes.drop_duplicates(["gene_id", "seqname"]).rename(columns={"seqname": "chromosome"})
    return genes[["gene_name", "gene_id", "chromosome", "start"]].reset_index(drop=True)


def installed_genome(*, download: bool = False) -> Any | None:
    """Return the newest human GRCh38 release of which pyensembl holds all files, or None.

    Nothing is fetched unless ``download`` is True; then the newest release is, where none is installed.
    """
    try:
        pyensembl = optional_import("pyensembl", extra="genome", purpose="gene positions from Ensembl")
    except ImportError:
        if download:
            raise
        return None
    for release in range(pyensembl.MAX_ENSEMBL_RELEASE, _OLDEST_GRCH38 - 1, -1):
        genome = pyensembl.EnsemblRelease(release)
        if genome.required_local_files_exist():
            return genome
    if not download:
        return None
    genome = pyensembl.EnsemblRelease()
    genome.download()
    return genome


def find_places(
    genes: Sequence[str], sources: Sequence[pd.DataFrame], *, aliases: Mapping[str, Sequence[str]] | None = None
) -> pd.DataFrame:
    """Return genes × (``chromosome`` code, ``start``), each from the first source that knows the gene's place."""
    names = np.array(list(genes), dtype=object)
    chromosome, start = np.full(len(names), UNKNOWN, dtype=np.int64), np.zeros(len(names))
    for places in sources:
        missing = np.flatnonzero(chromosome == UNKNOWN)
        resolved, _ = resolve_genes(names[missing], places, aliases=aliases)
        row = places.index.get_indexer(resolved)
        missing, row = missing[row >= 0], row[row >= 0]
        chromosome[missing] = places["chromosome"].to_numpy()[row]
        start[missing] = places["start"].to_numpy()[row]
    return pd.DataFrame({"chromosome": chromosome, "start": start}, index=pd.Index(names))


def _is_gtf(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith((".gtf", ".gff2"))


def _pyensembl_table(genome: Any) -> pd.DataFrame:
    genome.index()
    rows = [(gene.gene_name or gene.gene_id, gene.gene_id, gene.contig, gene.start) for gene in genome.genes()]
    table = pd.DataFrame(rows, columns=["name", "gene_id", "contig", "start"]).set_index("name")
    table.insert(0, "chromosome", chromosome_codes(table.pop("contig")))
    return table


def _names(table: pd.DataFrame, by_header: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """Return the names of the rows, and the columns that hold further names."""
    symbols = [by_header[name] for name in SYMBOL_COLUMNS if name in by_header]
    ids = [by_header[name] for name in ID_COLUMNS if name in by_header]
    ordered = [*symbols, *ids]
    if holds_words(table.index):
        names = pd.Series(table.index, index=table.index, dtype=object)
    else:
        ordered = ordered or [table.columns[0]]
        names = table[ordered[0]].astype(object)
    for column in ordered:
        names = names.where(names.notna(), table[column].astype(object))
    return [str(name) for name in names], ordered


def _tidy(places: pd.DataFrame) -> pd.DataFrame:
    """Keep one row per gene: of several, one on a chromosome that has a code, the first of those."""
    lost = places["start"].isna() | (places["chromosome"] == UNKNOWN)
    places = places.assign(chromosome=places["chromosome"].where(~lost, UNKNOWN), start=places["start"].where(~lost, 0))
    places = places.sort_values("chromosome", kind="stable")
    return places[~places.index.duplicated()]
