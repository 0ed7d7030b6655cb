"""Train, predict, evaluate."""

from scperturbmamba.tl._audit import audit_leakage
from scperturbmamba.tl._benchmark import benchmark
from scperturbmamba.tl._evaluate import evaluate
from scperturbmamba.tl._gene_features import gene_features
from scperturbmamba.tl._predict import predict
from scperturbmamba.tl._screen import screen
from scperturbmamba.tl._similar import similar_perturbations
from scperturbmamba.tl._stored import load_predictor, save_predictor
from scperturbmamba.tl._train import train_predictor

__all__ = [
    "audit_leakage",
    "benchmark",
    "evaluate",
    "gene_features",
    "load_predictor",
    "predict",
    "save_predictor",
    "screen",
    "similar_perturbations",
    "train_predictor",
]
