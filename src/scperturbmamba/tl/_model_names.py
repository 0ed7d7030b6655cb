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
from scperturbmamba.models.context_baselines import ContextAdditive, ContextMean
from scperturbmamba.models.dose_baselines import DoseMean, LogLinearDose, NearestDose
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
OF_DOSES: Final[Mapping[str, Callable[[], Model]]] = {
    "nearest_dose": NearestDose,
    "log_linear_dose": LogLinearDose,
    "dose_mean": DoseMean,
}
OF_CONTEXTS: Final[Mapping[str, Callable[[], Model]]] = {
    "context_mean": ContextMean,
    "context_additive": ContextAdditive,
}
FROM_FEATURES: Final[Mapping[str, Callable[..., Model]]] = {"nearest": Nearest, "knn": Neighbours, "ridge": Ridge}
WITHOUT_FEATURES: Final[Mapping[str, Callable[[], Model]]] = {**PLAIN, **OF_DOSES, **OF_CONTEXTS}
CORE: Final = "knowledge"
PREDICTOR: Final = "predictor"
NETWORKS: Final = {"bimamba": "mamba2", "lstm": "lstm", "mlp": "mlp"}


def baseline_names(data: Bundle) -> list[str]:
    """Return the baselines that a bundle allows: those of doses, contexts and features only where there are some."""
    names = list(PLAIN)
    if data.doses.reference:
        names += OF_DOSES
    if len(data.contexts) > 1:
        names += OF_CONTEXTS
    if described_by(data.features):
        names += [*FROM_FEATURES, *(name + SHUFFLED for name in ("knn", "ridge"))]
    return names


def check_name(name: str) -> None:
    """Refuse a name that is none of a model; ``"knn:string"`` names a feature source."""
    base = name.split(":")[0]
    simple = [*WITHOUT_FEATURES, *FROM_FEATURES, *(one + SHUFFLED for one in FROM_FEATURES)]
    known = [*simple, CORE, PREDICTOR, *NETWORKS, LEAKING]
    check_choice(base, known, "models")
    if ":" in name and base.removesuffix(SHUFFLED) not in FROM_FEATURES and base != LEAKING:
        msg = f"only {[*FROM_FEATURES]} (from a feature) and {LEAKING!r} (from `obsm`) take a source; found {name!r}."
        raise ValueError(msg)


def make_baseline(name: str) -> Model:
    """Return an untrained baseline."""
    base, _, source = name.partition(":")
    if base in WITHOUT_FEATURES:
        return WITHOUT_FEATURES[base]()
    return FROM_FEATURES[base.removesuffix(SHUFFLED)](source or None, shuffled=base.endswith(SHUFFLED))
