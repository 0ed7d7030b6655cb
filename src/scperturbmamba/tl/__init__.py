"""Train, predict, evaluate."""

from scperturbmamba.tl._benchmark import benchmark
from scperturbmamba.tl._evaluate import evaluate
from scperturbmamba.tl._gene_features import gene_features
from scperturbmamba.tl._predictor import load_predictor, predict, save_predictor, train_predictor

__all__ = [
    "benchmark",
    "evaluate",
    "gene_features",
    "load_predictor",
    "predict",
    "save_predictor",
    "train_predictor",
]
