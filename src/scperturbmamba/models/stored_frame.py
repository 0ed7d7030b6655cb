"""The frame of a screen as words and arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.doses import Doses
from scperturbmamba.data.kinds import Kinds
from scperturbmamba.models.counts import CountModel
from scperturbmamba.models.encoding import Encoder
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.stored_network import check_complete

_ENCODER_ARRAYS = ("order", "features", "code", "chromosome", "locus")
_ENCODER_WORDS = ("genes", "parts", "kinds", "names")
_FRAME_ARRAYS = ("control", "control_covariates")
_COUNT_ARRAYS = ("log_rate", "log_dispersion", "sizes")


def frame_state(frame: Frame) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return words that JSON can hold, and arrays."""
    encoder = frame.encoder
    words = {
        "contexts": list(frame.contexts),
        "covariates": list(frame.covariate_names),
        "kinds": asdict(frame.kinds),
        "seen": [[label, context, n] for (label, context), n in frame.seen.items()],
        "encoder": {name: list(getattr(encoder, name)) for name in _ENCODER_WORDS},
        "provenance": encoder.provenance,
        "doses": {"reference": dict(encoder.doses.reference), "units": dict(encoder.doses.units)},
    }
    arrays = {f"encoder.{name}": getattr(encoder, name) for name in _ENCODER_ARRAYS}
    arrays |= {f"frame.{name}": getattr(frame, name) for name in _FRAME_ARRAYS}
    if frame.count_model is not None:
        arrays |= {f"counts.{name}": getattr(frame.count_model, name) for name in _COUNT_ARRAYS}
    return words, arrays


def frame_from(words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Frame:
    """Return the frame of a state.

    Raises
    ------
    ValueError
        Arrays are missing.
    """
    needed = [f"encoder.{name}" for name in _ENCODER_ARRAYS] + [f"frame.{name}" for name in _FRAME_ARRAYS]
    check_complete(needed, arrays)
    names: dict[str, Any] = {name: tuple(words["encoder"][name]) for name in _ENCODER_WORDS}
    tables: dict[str, Any] = {name: np.asarray(arrays[f"encoder.{name}"]) for name in _ENCODER_ARRAYS}
    counted = {name: np.asarray(arrays[f"counts.{name}"]) for name in _COUNT_ARRAYS if f"counts.{name}" in arrays}
    own = tuple((name, kind) for name, kind in words["kinds"]["own"])
    return Frame(
        encoder=Encoder(**names, **tables, provenance=words["provenance"], doses=Doses(**words["doses"])),
        kinds=Kinds(words["kinds"]["usual"], own, tuple(words["kinds"]["several"])),
        seen={(label, context): n for label, context, n in words["seen"]},
        contexts=tuple(words["contexts"]),
        control=np.asarray(arrays["frame.control"]),
        covariate_names=tuple(words["covariates"]),
        control_covariates=np.asarray(arrays["frame.control_covariates"]),
        count_model=CountModel(**counted) if counted else None,
    )
