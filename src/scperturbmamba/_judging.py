"""The words of a judgement that tables and plots share: headline metrics, ceilings, and who is a simple model."""

from __future__ import annotations

from typing import Final

HEADLINE: Final = ("mse", "l2", "pearson_delta", "pearson_delta_centred", "direction_top20", "pds_l1")
ALL_GENES: Final = "all"
NO_TARGET: Final = "without target"  # the perturbed genes are left out

REPLICATE: Final = "replicate"  # one half of the cells, judged by the other
INTERPOLATED: Final = "interpolated_duplicate"  # the same, drawn to the mean where it is noise
CEILINGS: Final = (REPLICATE, INTERPOLATED)

WITHOUT_FEATURES: Final = (
    "no_change", "mean", "matching_mean", "additive", "scaled_additive", "bilinear", "nearest_dose", "log_linear_dose",
    "dose_mean", "context_mean", "context_additive",
)  # fmt: skip
WITH_FEATURES: Final = ("nearest", "knn", "ridge")
SHUFFLED: Final = "_shuffled"
LEAKING: Final = "embedding_ridge"


def is_baseline(model: str) -> bool:
    """Tell whether a model is a simple one, which others are compared with and whose numbers depend on no seed."""
    return model.split(":")[0].removesuffix(SHUFFLED) in (*WITHOUT_FEATURES, *WITH_FEATURES)


def leaks(model: str) -> bool:
    """Tell whether a model reads the cells that it is judged by."""
    return model.split(":")[0] == LEAKING
