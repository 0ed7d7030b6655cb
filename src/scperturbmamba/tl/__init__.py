"""Train, predict, evaluate."""

from scperturbmamba.tl._audit import audit_leakage
from scperturbmamba.tl._benchmark import benchmark
from scperturbmamba.tl._drug_features import drug_features
from scperturbmamba.tl._evaluate import evaluate
from scperturbmamba.tl._gene_features import gene_features
from scperturbmamba.tl._inverse_cycle import cycle_consistency
from scperturbmamba.tl._inverse_evaluate import evaluate_inverse
from scperturbmamba.tl._inverse_match import match_signature
from scperturbmamba.tl._inverse_rank import rank_perturbations
from scperturbmamba.tl._inverse_search import search_inverse
from scperturbmamba.tl._inverse_train import train_inverse
from scperturbmamba.tl._predict import predict
from scperturbmamba.tl._screen import screen
from scperturbmamba.tl._similar import similar_perturbations
from scperturbmamba.tl._stored import load_predictor, save_predictor
from scperturbmamba.tl._train import train_predictor

__all__ = [
    "audit_leakage",
    "benchmark",
    "cycle_consistency",
    "drug_features",
    "evaluate",
    "evaluate_inverse",
    "gene_features",
    "load_predictor",
    "match_signature",
    "predict",
    "rank_perturbations",
    "save_predictor",
    "screen",
    "search_inverse",
    "similar_perturbations",
    "train_inverse",
    "train_predictor",
]
