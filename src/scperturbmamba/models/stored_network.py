"""A trained network as words and arrays, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.engine.task import History
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.neural import BiMamba, build_predictor


def network_state(network: BiMamba) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return words that JSON can hold, and the weights; the frame is stored apart."""
    pairs = network.predictor.pairs
    words = {
        "net": network.net.model_dump(),
        "train": network.training.model_dump(),
        "random_state": network.random_state,
        "history": asdict(network.history),
        "n_pairs": 0 if pairs is None else pairs.effect.in_features,
    }
    return words, {name: value.cpu().numpy() for name, value in network.predictor.state_dict().items()}


def network_from(frame: Frame, words: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> BiMamba:
    """Return the network of a state.

    Raises
    ------
    ValueError
        Weights are missing.
    """
    network = BiMamba(NetConfig(**words["net"]), TrainConfig(**words["train"]), words["random_state"])
    network.frame, network.history = frame, History(**words["history"])
    predictor = build_predictor(network.net, frame, 1.0, words["n_pairs"])
    check_complete(predictor.state_dict(), weights)
    predictor.load_state_dict({name: torch.from_numpy(np.array(weights[name])) for name in predictor.state_dict()})
    network.predictor = predictor.eval()
    return network


def check_complete(needed: Iterable[str], found: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that has lost arrays.

    Raises
    ------
    ValueError
        Some are missing.
    """
    missing = sorted(set(needed) - set(found))
    if missing:
        msg = f"the predictor lacks {len(missing)} of its arrays, such as {missing[:3]}. Save it again."
        raise ValueError(msg)
