"""How each metric is defined, how each model predicts, and what each way to split asks for: a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scperturbmamba._judging import LEAKING, SHUFFLED
from scperturbmamba.tl._metric_table import TOPS
from scperturbmamba.tl._model_names import CORE, PREDICTOR

METRIC_WORDS: Final[Mapping[str, str]] = {
    "mse": "mean over genes of the squared difference between measured expression and what is predicted: the training "
    "control plus the predicted effect",
    "mae": "mean over genes of the absolute difference of the same",
    "l2": "Euclidean distance of the same, over the 1,000 genes highest in control cells (Ahlmann-Eltze et al., 2025)",
    "wmse": "as MSE, weighted by how much a gene differs from all other perturbed cells (Mejia et al., 2025)",
    "pearson_delta": "Pearson correlation over genes of predicted and measured effect",
    "spearman_delta": "the same of ranks",
    "cosine_delta": "cosine of the angle between predicted and measured effect",
    "r2_delta": "1 − squared error / variance of the measured effect over genes",
    "pearson_delta_centred": "Pearson correlation after the mean effect of the training perturbations is taken from "
    "both: blind to what all perturbations share (Viñas Torné et al., 2025)",
    "spearman_delta_centred": "the same of ranks",
    "r2_delta_centred": "R² after the mean effect of the training perturbations is taken from both",
    "weighted_r2_centred": "the same, weighted as the weighted MSE (Miller et al., 2025)",
    "pds_l1": "perturbation discrimination: 1 − share of measured effects nearer to the prediction than the right one, "
    "by the sum of absolute differences; without the perturbed genes (Wu et al., 2024)",
    "pds_l2": "the same by Euclidean distance",
    "pds_cosine": "the same by cosine",
    "centroid_accuracy": "share of other measured effects that are farther from the prediction than the right one",
    "rank": "share of predictions for other perturbations that are nearer to the measured effect than the right one",
    **{f"mse_top{n}": f"MSE over the {n} genes that change most (largest t statistic)" for n in TOPS},
    **{f"pearson_delta_top{n}": f"Pearson correlation over the {n} genes that change most" for n in TOPS},
    **{f"direction_top{n}": f"share of the {n} genes that change most whose sign is right" for n in TOPS},
    "de_overlap": "share of the changed genes (false discovery rate 5 %) among as many of the largest predicted effect",
    "de_precision_50": "share of the 50 genes of largest predicted effect that are among the most changed",
}

MODEL_WORDS: Final[Mapping[str, str]] = {
    "no_change": "predicts no effect",
    "mean": "predicts the mean effect of the training perturbations for all",
    "matching_mean": "averages the effects of the parts; a part that was never seen alone has the mean effect",
    "additive": "adds the effects of the parts; a part that was never seen alone has none",
    "scaled_additive": "the same, times a coefficient learned from the training combinations",
    "nearest_dose": "what the drug did at the nearest dose on the log scale",
    "log_linear_dose": "a line in the log of the dose between two doses of the drug",
    "dose_mean": "what drugs do on average at that share of their highest dose",
    "context_mean": "what the condition did on average in the other contexts",
    "context_additive": "the same, plus how far the mean effect of the context is from those of the others",
    "bilinear": "linear, with gene vectors from the training effects on both sides of a small matrix (Ahlmann-Eltze et "
    "al., 2025)",
    "nearest": "takes the effect of the training gene whose features are most alike",
    "knn": "averages the effects of the training genes whose features are most alike",
    "ridge": "regresses effects on gene features",
    CORE: "adds measured effects, drawn to their mean as far as they are noise; a gene never perturbed has what ridge "
    "and neighbours over every feature say where that helped on genes left out, and the mean elsewhere",
    PREDICTOR: "the default of tl.train_predictor: the knowledge core, and behind a gate a network on what it leaves "
    "over",
    "bimamba": "the bidirectional Mamba-2 network, without a core",
    "lstm": "the network with an LSTM in its place",
    "mlp": "the network without a sequence: no gene hears of another",
    LEAKING: "the protocol of scModelForge: it reads the held-out cells themselves, and so leaks",
    "replicate": "one half of the cells of each held-out condition, judged by the other half; the noise of both counts "
    "against it, so that a smooth prediction can have a smaller error",
    "interpolated_duplicate": "the replicate, drawn to the training mean in genes that do not change (Miller et al., "
    "2025)",
}

SPLIT_WORDS: Final[Mapping[str, str]] = {
    "perturbation": "perturbed genes are held out, with every combination that holds one",
    "condition": "conditions are held out, each for itself; a part of a combination may be seen alone",
    "kfold": "one fold of the perturbed genes is held out",
    "simulation": "as in GEARS: unseen genes, and pairs of which none, one or both genes are seen",
    "doubles": "combinations are held out; every gene is seen alone",
    "context": "a whole context is held out; its perturbations are seen elsewhere",
    "dose": "one dose of each drug with several is held out; its other doses are seen",
    "pair": "conditions are held out in single contexts; each is seen in another context",
    "cell": "cells of every condition are held out. This is easy: every perturbation was seen in training, and nothing "
    "is asked of unseen ones",
}


def describe_model(name: str) -> str:
    """Return in a line how a model predicts."""
    base, _, source = name.partition(":")
    words = MODEL_WORDS.get(base.removesuffix(SHUFFLED), "")
    if base.endswith(SHUFFLED):
        words += "; its features belong to the wrong genes: a null"
    return f"{words}, from {source}" if source else words


def describe_split(scheme: str) -> str:
    """Return in a line what is held out; nothing where it is not known."""
    return SPLIT_WORDS.get(scheme, f"given ({scheme})" if scheme else "")
