"""Every slot name of the package, each written once."""

from __future__ import annotations

from typing import Final

# obs, written by pp.perturbation_labels
PERTURBATION: Final = "perturbation"  # category: "TP53", "MYC+TP53", "dasatinib@10", "control"; NaN where unlabelled
PERTURBATION_IDX: Final = "perturbation_idx"  # int: 0 is the control, -1 unlabelled
IS_CONTROL: Final = "is_control"  # bool
N_PARTS: Final = "n_parts"  # int: 0 for the control, -1 unlabelled
PERTURBATION_TYPE: Final = "perturbation_type"  # category: "knockout", "CRISPRi", "CRISPRa", "drug", ...
DOSE: Final = "dose"  # float, NaN where there is none
DOSE_UNIT: Final = "dose_unit"  # category

# obs, written by pp.assign_guides
GUIDE_IDENTITY: Final = "guide_identity"  # category: "TP53_g1", "TP53_g1+TP53_g2"; NaN where none was found
N_GUIDES: Final = "n_guides"  # int
GUIDE_TARGET: Final = "guide_target"  # category: "TP53", "MYC+TP53", "control"; NaN where none was found

# obs, written by pp.qc_perturbseq (scanpy's names first)
TOTAL_COUNTS: Final = "total_counts"
N_GENES: Final = "n_genes_by_counts"
PCT_MT: Final = "pct_counts_mt"
KNOCKDOWN: Final = "knockdown"  # float: share of the target's control expression that is lost, per condition
QC_REASON: Final = "qc_reason"  # category: "kept" or the first reason to drop the cell

# obs, written by pp.match_controls
CONTROL_GROUP: Final = "control_group"  # category: cells of one plate, batch or run; NaN where unlabelled

# obs, written by pp.split_conditions
SPLIT: Final = "split"  # category: train, val, test
TRAIN: Final = "train"
VAL: Final = "val"
TEST: Final = "test"

# obs, written by pp.pseudobulk
N_CELLS: Final = "n_cells"  # int: cells behind a profile

# obs and obsm, written by tl.rank_perturbations
INFERRED: Final = "perturbation_inferred"  # category: the likeliest condition, "control" where it cannot be told
INFERRED_PROBABILITY: Final = "perturbation_inferred_probability"  # float
INFERRED_SCORES: Final = "perturbation_scores"  # obsm: DataFrame, a column per candidate

# var
IS_TARGET: Final = "is_target"  # bool: the gene is perturbed in this screen
HIGHLY_VARIABLE: Final = "highly_variable"
SELECTED: Final = "selected"

# layers
COUNTS: Final = "counts"  # raw integers
CONTROL_LAYER: Final = "control"
DELTA: Final = "delta"  # minus the matched control, in the scale of X
SE: Final = "se"
SD: Final = "sd"

# obsm, varm, uns
MULTIPLES: Final = "interval_multiples"  # obsm: how many SD make the interval of each level
GUIDE_COUNTS: Final = "guide_counts"
GUIDES: Final = "guides"
QC: Final = "qc"
NORMALIZE: Final = "normalize"
SCREEN: Final = "screen"  # gene source: what perturbing a gene does in another screen
SCREEN_RESPONSE: Final = "screen_response"  # gene source: how a gene responds there, in the same coordinates
GENE_PREFIX: Final = "gene_"  # varm and uns: "gene_identity", "gene_position", "gene_pathway", ...
DRUG_PREFIX: Final = "drug_"  # uns: "drug_fingerprint", "drug_descriptors", ...
DRUG_SMILES: Final = "drug_smiles"  # uns: drugs, their canonical SMILES, and the SMILES as given
PREDICTOR: Final = "predictor"
BENCHMARK: Final = "benchmark"
EVALUATION: Final = "evaluation"
INVERSE: Final = "inverse"
INVERSE_EVALUATION: Final = "inverse_evaluation"
INVERSE_SEARCH: Final = "inverse_search"
SIMILARITY: Final = "similarity"  # obsp as well: rows × rows
PARAMS: Final = "params"

# the canonical label of the empty condition
CONTROL: Final = "control"
