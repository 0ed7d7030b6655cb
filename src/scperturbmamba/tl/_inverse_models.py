"""The models of the inverse task that can be asked for by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, Final, get_args

from scperturbmamba._checks import check_choice
from scperturbmamba._settings import settings
from scperturbmamba.engine.config import resolve
from scperturbmamba.engine.inverse.config import InverseConfig, Kind
from scperturbmamba.models.checkpoint import Checkpoint
from scperturbmamba.models.inverse.base import InverseModel
from scperturbmamba.models.inverse.centroid import NearestCentroid
from scperturbmamba.models.inverse.dictionary import Dictionary
from scperturbmamba.models.inverse.linear import Discriminant, Logistic
from scperturbmamba.models.inverse.neighbours import Neighbours
from scperturbmamba.models.inverse.networks import InverseNetwork
from scperturbmamba.models.inverse.nonnegative import NonNegative

SIMPLE: Final[Mapping[str, Callable[..., InverseModel]]] = {
    "dictionary": Dictionary,
    "centroid": NearestCentroid,
    "logistic": Logistic,
    "discriminant": Discriminant,
    "knn": Neighbours,
    "nonnegative": NonNegative,
}
NETWORKS: Final = get_args(Kind)
KNOWN: Final = (*SIMPLE, *NETWORKS)


def check_model(name: str, config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings of a model, complete for a network; refuse a name or a setting that is unknown.

    Raises
    ------
    ValueError
        The model, or one of its settings, is unknown.
    """
    check_choice(name, KNOWN, "model")
    given = dict(config or {})
    if name in NETWORKS:
        return resolve(InverseConfig, {**given, "kind": name}, "config").model_dump()
    known = list(signature(SIMPLE[name]).parameters)
    strangers = sorted(set(given) - set(known))
    if strangers:
        msg = f"`config` of {name!r} takes {known or 'nothing'}; found {strangers}."
        raise ValueError(msg)
    return given


def make_model(name: str, config: Mapping[str, Any], random_state: int) -> InverseModel:
    """Return an untrained model, from settings that were checked."""
    if name in NETWORKS:
        return InverseNetwork(InverseConfig(**config), random_state=random_state, device=settings.device)
    return SIMPLE[name](**config)


def restore_model(name: str, state: Checkpoint) -> InverseModel:
    """Return the model of a state."""
    kind: Any = InverseNetwork if name in NETWORKS else SIMPLE[name]
    model: InverseModel = kind.from_state(state)
    return model
