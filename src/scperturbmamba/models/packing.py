"""A trained predictor as a checkpoint, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from scperturbmamba.models.checkpoint import Checkpoint
from scperturbmamba.models.core_residual import CoreAndResidual
from scperturbmamba.models.network_alone import NetworkAlone
from scperturbmamba.models.sparse_alone import SparseAlone
from scperturbmamba.models.stored_frame import frame_from, frame_state
from scperturbmamba.models.terms import Speaker, named, under
from scperturbmamba.models.trained import Trained

SCHEMA = 5
_PACKAGES = ("scperturbmamba", "torch", "lightning", "anndata", "numpy")
_SPEAKERS: Final[dict[str, type[Speaker]]] = {one.kind: one for one in (CoreAndResidual, NetworkAlone, SparseAlone)}


def pack(model: Trained, params: Mapping[str, Any] | None = None) -> Checkpoint:
    """Return the checkpoint of a trained predictor, with the settings of the call that trained it."""
    frame, arrays = frame_state(model.frame)
    speaker, own = model.speaker.state()
    description = {
        "schema": SCHEMA,
        "versions": {name: version(name) for name in _PACKAGES},
        "params": dict(params or {}),
        **frame,
        "speaker": {"kind": model.speaker.kind, **speaker},
    }
    return Checkpoint(json.dumps(description), {**arrays, **named("speaker", own)})


def unpack(checkpoint: Checkpoint) -> Trained:
    """Return the predictor of a checkpoint.

    Raises
    ------
    ValueError
        The schema is not that of this package, or arrays are missing.
    """
    found = json.loads(checkpoint.description)
    if found.get("schema", 0) != SCHEMA:
        remedy = "pip install -U scperturbmamba" if found.get("schema", 0) > SCHEMA else "Train again"
        msg = (
            f"the predictor was saved by scperturbmamba {found['versions']['scperturbmamba']} with schema "
            f"{found.get('schema', 0)}; this version reads schema {SCHEMA}. {remedy}."
        )
        raise ValueError(msg)
    arrays = {name: np.asarray(value) for name, value in checkpoint.arrays.items()}
    words = found["speaker"]
    return Trained(_SPEAKERS[words["kind"]].from_state(frame_from(found, arrays), words, under("speaker", arrays)))


def params_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the settings of the call that trained the predictor."""
    params: dict[str, Any] = json.loads(checkpoint.description)["params"]
    return params


def predictor_name(model: Trained) -> str:
    """Return twelve digits that name all that a predictor learned; another has others."""
    checkpoint = pack(model)
    told = {name: one for name, one in json.loads(checkpoint.description).items() if name not in ("versions", "params")}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, value in sorted(checkpoint.arrays.items()):
        digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:12]
