"""The toy world's genome: real-looking symbols, invented places and pathways."""

from __future__ import annotations

import numpy as np
import pandas as pd

_FAMILIES = {
    "KLF": 17, "GATA": 6, "IRF": 9, "SMAD": 9, "FOXO": 6, "SOX": 18, "CEBPE": 0, "MAPK": 15, "MAP2K": 7, "MAP3K": 15,
    "CDK": 20, "CCNB": 3, "E2F": 8, "BCL2L": 14, "CASP": 10, "TGFBR": 3, "IL1R": 2, "HLA-DR": 5, "CD": 60, "SLC12A": 9,
    "PSMB": 10, "RPL": 40, "NDUFB": 11, "ATP6V": 9, "KIF": 26, "ITGA": 11, "COL4A": 6, "HSPA": 14, "RAB": 40,
    "ZNF": 80, "TMEM": 90, "LRRC": 60, "FAM83": 8, "PTPN": 23, "UBE2": 20, "HOXB": 13, "TBX": 22, "RUNX": 3,
}  # fmt: skip
_SINGLES = ("TP53", "MYC", "JUN", "FOS", "STAT1", "STAT3", "JAK2", "BRD4", "SPI1", "CUL3", "SET", "CBL", "CNN1")
_CHROMOSOMES = [*[str(number) for number in range(1, 23)], "X", "Y"]


def gene_symbols(n_genes: int) -> list[str]:
    """Return ``n_genes`` different symbols, regulators' families first."""
    numbered = [f"{family}{number}" for family, last in _FAMILIES.items() for number in range(1, last + 1)]
    symbols = [*_SINGLES, *numbered]
    filler = [f"LINC{number:05d}" for number in range(1, max(0, n_genes - len(symbols)) + 1)]
    return [*symbols, *filler][:n_genes]


def gene_table(n_genes: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return genes × (ensembl_id, chromosome, start, end), in no genome order; chromosome Y holds one gene in fifty."""
    weights = np.array([*np.linspace(2, 1, 22), 1.2, 0.4])
    chromosome = rng.choice(_CHROMOSOMES, size=n_genes, p=weights / weights.sum())
    start = rng.integers(50_000, 40_000_000, size=n_genes)
    return pd.DataFrame(
        {
            "ensembl_id": [f"ENSG{900_000_000 + number:011d}" for number in range(n_genes)],
            "chromosome": pd.Categorical(chromosome, categories=_CHROMOSOMES),
            "start": start,
            "end": start + rng.integers(2_000, 90_000, size=n_genes),
        },
        index=pd.Index(gene_symbols(n_genes)),
    )
