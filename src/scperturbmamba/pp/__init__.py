"""From a raw screen to labelled, cleaned, normalised, split cells."""

from scperturbmamba.pp._columns import detect_columns
from scperturbmamba.pp._genes import select_genes
from scperturbmamba.pp._guides import assign_guides
from scperturbmamba.pp._labels import perturbation_labels
from scperturbmamba.pp._match_controls import match_controls
from scperturbmamba.pp._normalize import normalize
from scperturbmamba.pp._pseudobulk import pseudobulk
from scperturbmamba.pp._qc import qc_perturbseq
from scperturbmamba.pp._split import split_conditions

__all__ = [
    "assign_guides",
    "detect_columns",
    "match_controls",
    "normalize",
    "perturbation_labels",
    "pseudobulk",
    "qc_perturbseq",
    "select_genes",
    "split_conditions",
]
