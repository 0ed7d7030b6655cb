"""A gene's place in the genome as numbers: chromosome, locus, and waves of the locus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scperturbmamba.features.genome import CHROMOSOMES, LENGTHS, UNKNOWN
from scperturbmamba.features.tables import KNOWN


def position_table(
    genes: Sequence[str], chromosome: NDArray[np.integer], start: NDArray[np.floating], *, n_frequencies: int = 8
) -> pd.DataFrame:
    """Return genes × (``chromosome``, ``locus``, ``sin_k``, ``cos_k``, ``known``), float32.

    Parameters
    ----------
    genes
        Names, for the rows and for an error.
    chromosome
        Code of each gene, 0–23, or 24 where it is not known.
    start
        First base of each gene on GRCh38.
    n_frequencies
        Number of waves; wave ``k`` runs ``2**k`` times along a chromosome.

    Raises
    ------
    ValueError
        A gene lies beyond the end of its chromosome: the positions are of another genome build.
    """
    locus = relative_locus(genes, chromosome, start)
    placed = chromosome != UNKNOWN
    waves = fourier(locus, n_frequencies) * placed[:, None]
    columns = ["chromosome", "locus", *_wave_names(n_frequencies), KNOWN]
    values = np.column_stack([chromosome, locus, waves, placed]).astype(np.float32)
    return pd.DataFrame(values, index=list(genes), columns=columns)


def relative_locus(
    genes: Sequence[str], chromosome: NDArray[np.integer], start: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return start / chromosome length, within 0 and 1; 0 for a gene of no known chromosome."""
    length = np.append(LENGTHS, np.iinfo(np.int64).max)[chromosome]
    start = np.where(chromosome == UNKNOWN, 0.0, start)
    outside = np.flatnonzero((start < 0) | (start > length))
    if len(outside):
        first = outside[0]
        msg = (
            f"gene {genes[first]!r} starts at {start[first]:.0f} on chromosome {CHROMOSOMES[chromosome[first]]}, which "
            f"has {length[first]} bases in GRCh38 ({len(outside)} such genes). "
            "The positions are of another genome build or species; give GRCh38 positions."
        )
        raise ValueError(msg)
    return start / length


def fourier(locus: NDArray[np.floating], n_frequencies: int) -> NDArray[np.float64]:
    """Return genes × ``2 * n_frequencies``: sin and cos of ``2 pi 2**k locus`` for ``k = 0, 1, ...``."""
    angle = 2 * np.pi * np.asarray(locus, dtype=np.float64)[:, None] * 2.0 ** np.arange(n_frequencies)
    return np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(len(angle), 2 * n_frequencies)


def _wave_names(n_frequencies: int) -> list[str]:
    return [f"{wave}_{number}" for number in range(n_frequencies) for wave in ("sin", "cos")]
