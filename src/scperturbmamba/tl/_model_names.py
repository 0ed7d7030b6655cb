"""The models that can be asked for by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from scperturbmamba._checks import check_choice
from scperturbmamba._judging import LEAKING, SHUFFLED
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.models.base import Model
from scperturbmamba.models.baselines import Additive, MatchingMean, NoChange, ScaledAdditive, TrainingMean
from scperturbmamba.models.bilinear import Bilinear
from scperturbmamba.models.encoding import described_by
from scperturbmamba.models.feature_baselines import Nearest, Neighbours, Ridge

PLAIN: Final[Mapping[str, Callable[[], Model]]] = {
    "no_change": NoChange,
    "mean": TrainingMean,
    "matching_mean": MatchingMean,
    "additive": Additive,
    "scaled_additive": ScaledAdditive,
    "bilinear": Bilinear,
}
FROM_FEATURES: Final[Mapping[str, Callable[..., Model]]] = {"nearest": Nearest, "knn": Neighbours, "ridge": Ridge}
CORE: Final = "knowledge"
PREDICTOR: Final = "predictor"
NETWORKS: Final = {"bimamba": "mamba2", "lstm": "lstm", "mlp": "mlp"}


def baseline_names(data: Bundle) -> list[str]:
    """Return the baselines that a bundle allows: those from features only where a feature says what a gene does."""
    if not described_by(data.features):
        return list(PLAIN)
    return [*PLAIN, *FROM_FEATURES, *(name + SHUFFLED for name in ("knn", "ridge"))]


def check_name(name: str) -> None:
    """Refuse a name that is none of a model; ``"knn:string"`` names a feature source."""
    base = name.split(":")[0]
    known = [*PLAIN, *FROM_FEATURES, *(one + SHUFFLED for one in FROM_FEATURES), CORE, PREDICTOR, *NETWORKS, LEAKING]
    check_choice(base, known, "models")
    if ":" in name and base.removesuffix(SHUFFLED) not in FROM_FEATURES and base != LEAKING:
        msg = f"only {[*FROM_FEATURES]} (from a feature) and {LEAKING!r} (from `obsm`) take a source; found {name!r}."
        raise ValueError(msg)


def make_baseline(name: str) -> Model:
    """Return an untrained baseline."""
    base, _, source = name.partition(":")
    if base in PLAIN:
        return PLAIN[base]()
    return FROM_FEATURES[base.removesuffix(SHUFFLED)](source or None, shuffled=base.endswith(SHUFFLED))
