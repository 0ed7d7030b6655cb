"""How near a prediction is: arrays in, numbers out.

Most functions take ``(rows × genes)`` arrays, where a row is a condition, and return one number per row. An entry that
is not finite on one side is left out; a row without any finite pair gives NaN. A correlation with a constant row is 0:
such a prediction says nothing of the differences between genes.
"""

from scperturbmamba.metrics._auc import auc, auc_per_gene, mean_auc_per_gene
from scperturbmamba.metrics._calibration import (
    calibration_error,
    coverage,
    expected_calibration_error,
    interval_coverage,
)
from scperturbmamba.metrics._changed_genes import de_overlap, de_precision, direction_accuracy
from scperturbmamba.metrics._comparison import paired_bootstrap, scaled
from scperturbmamba.metrics._correlations import cosine, pearson, pearson_centred, spearman
from scperturbmamba.metrics._errors import l2, mae, mse
from scperturbmamba.metrics._populations import energy_distance, mmd
from scperturbmamba.metrics._r2 import r2, r2_score
from scperturbmamba.metrics._ranking import (
    at_least_one,
    f1,
    f1_per_candidate,
    hit_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
)
from scperturbmamba.metrics._retrieval import centroid_accuracy, discrimination, rank
from scperturbmamba.metrics._top_genes import highest_genes, on_top_genes, top_genes
from scperturbmamba.metrics._variety import similarity, spread
from scperturbmamba.metrics._weighted import effect_weights, weighted_mse, weighted_r2

__all__ = [
    "at_least_one",
    "auc",
    "auc_per_gene",
    "calibration_error",
    "centroid_accuracy",
    "cosine",
    "coverage",
    "de_overlap",
    "de_precision",
    "direction_accuracy",
    "discrimination",
    "effect_weights",
    "energy_distance",
    "expected_calibration_error",
    "f1",
    "f1_per_candidate",
    "highest_genes",
    "hit_at_k",
    "interval_coverage",
    "l2",
    "mae",
    "mean_auc_per_gene",
    "mmd",
    "mse",
    "ndcg_at_k",
    "on_top_genes",
    "paired_bootstrap",
    "pearson",
    "pearson_centred",
    "r2",
    "r2_score",
    "rank",
    "recall_at_k",
    "reciprocal_rank",
    "scaled",
    "similarity",
    "spearman",
    "spread",
    "top_genes",
    "weighted_mse",
    "weighted_r2",
]
