"""A trained network as one JSON string plus arrays, for ``uns`` or for a folder; no pickle anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from scperturbmamba.data.kinds import Kinds
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.engine.task import History
from scperturbmamba.models.counts import CountModel
from scperturbmamba.models.encoding import Encoder
from scperturbmamba.models.neural import BiMamba, build_predictor

SCHEMA = 1
_PACKAGES = ("scperturbmamba", "torch", "lightning", "anndata", "numpy")
_ENCODER_ARRAYS = ("order", "features", "code", "chromosome", "locus")
_ENCODER_WORDS = ("genes", "parts", "kinds", "names")
_MODEL_ARRAYS = ("control", "control_covariates")
_COUNT_ARRAYS = ("log_rate", "log_dispersion", "sizes")
_JSON_FILE, _WEIGHTS_FILE = "predictor.json", "weights.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A trained network that can be written anywhere.

    Attributes
    ----------
    description
        JSON: schema version, package versions, configuration, genes, parts, kinds, provenance, what was seen.
    arrays
        Name to array: weights (``net.…``), feature tables (``encoder.…``), control profiles (``model.…``).
    """

    description: str
    arrays: Mapping[str, NDArray[Any]]


def pack(model: BiMamba, params: Mapping[str, Any] | None = None) -> Checkpoint:
    """Return the checkpoint of a trained network, with the settings of the call that trained it."""
    encoder = model.encoder
    description = {
        "schema": SCHEMA,
        "versions": {name: version(name) for name in _PACKAGES},
        "params": dict(params or {}),
        "net": model.net.model_dump(),
        "train": model.training.model_dump(),
        "random_state": model.random_state,
        "contexts": list(model.contexts),
        "covariates": list(model.covariate_names),
        "kinds": asdict(model.kinds),
        "seen": [[label, context, n] for (label, context), n in model.seen.items()],
        "encoder": {name: list(getattr(encoder, name)) for name in _ENCODER_WORDS},
        "provenance": encoder.provenance,
        "history": asdict(model.history),
    }
    arrays = {f"encoder.{name}": getattr(encoder, name) for name in _ENCODER_ARRAYS}
    arrays |= {f"model.{name}": getattr(model, name) for name in _MODEL_ARRAYS}
    if model.count_model is not None:
        arrays |= {f"counts.{name}": getattr(model.count_model, name) for name in _COUNT_ARRAYS}
    weights = {f"net.{name}": value.numpy() for name, value in model.predictor.state_dict().items()}
    return Checkpoint(json.dumps(description), {**arrays, **weights})


def network_name(model: BiMamba) -> str:
    """Return twelve digits that name the weights of a network and what it reads; another network has others."""
    digest = hashlib.sha256(model.net.model_dump_json().encode())
    digest.update("|".join(model.encoder.genes).encode())
    for name, value in sorted(model.predictor.state_dict().items()):
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def params_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the settings of the call that trained the network."""
    params: dict[str, Any] = json.loads(checkpoint.description)["params"]
    return params


def unpack(checkpoint: Checkpoint) -> BiMamba:
    """Return the network of a checkpoint.

    Raises
    ------
    ValueError
        The schema is newer than this package, or arrays are missing.
    """
    found = json.loads(checkpoint.description)
    if found.get("schema", 0) > SCHEMA:
        msg = (
            f"the predictor was saved by scperturbmamba {found['versions']['scperturbmamba']} with schema "
            f"{found['schema']}; this version reads up to {SCHEMA}. pip install -U scperturbmamba"
        )
        raise ValueError(msg)
    arrays = {name: np.asarray(value) for name, value in checkpoint.arrays.items()}
    needed = [f"encoder.{name}" for name in _ENCODER_ARRAYS] + [f"model.{name}" for name in _MODEL_ARRAYS]
    _check_complete(needed, arrays)
    model = BiMamba(NetConfig(**found["net"]), TrainConfig(**found["train"]), random_state=found["random_state"])
    words: dict[str, Any] = {name: tuple(found["encoder"][name]) for name in _ENCODER_WORDS}
    tables: dict[str, Any] = {name: arrays[f"encoder.{name}"] for name in _ENCODER_ARRAYS}
    model.encoder = Encoder(**words, **tables, provenance=found["provenance"])
    model.contexts = tuple(found["contexts"])
    model.covariate_names = tuple(found["covariates"])
    model.kinds = _kinds(found["kinds"])
    model.seen = {(label, context): n for label, context, n in found["seen"]}
    model.history = History(**found["history"])
    for name in _MODEL_ARRAYS:
        setattr(model, name, arrays[f"model.{name}"])
    counted = {name: arrays[f"counts.{name}"] for name in _COUNT_ARRAYS if f"counts.{name}" in arrays}
    model.count_model = CountModel(**counted) if counted else None
    model.predictor = _rebuild(model, arrays)
    return model


def _kinds(found: Mapping[str, Any]) -> Kinds:
    own = tuple((name, kind) for name, kind in found["own"])
    return Kinds(found["usual"], own, tuple(found["several"]))


def _rebuild(model: BiMamba, arrays: Mapping[str, NDArray[Any]]) -> Any:
    log_r = None if model.count_model is None else torch.from_numpy(model.count_model.log_dispersion)
    net = build_predictor(model.net, model.encoder, model.control, len(model.covariate_names), 1.0, log_r)
    prefix = "net."
    weights = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    _check_complete(net.state_dict(), weights)
    net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    net.eval()
    return net


def _check_complete(needed: Iterable[str], found: Iterable[str]) -> None:
    missing = sorted(set(needed) - set(found))
    if missing:
        msg = f"the predictor lacks {len(missing)} of its arrays, such as {missing[:3]}. Save it again."
        raise ValueError(msg)


def save_folder(checkpoint: Checkpoint, folder: Path, *, overwrite: bool) -> None:
    """Write a checkpoint as JSON and safetensors; whole or not at all.

    Raises
    ------
    FileExistsError
        The folder is there and ``overwrite`` is False.
    """
    if folder.exists() and not overwrite:
        msg = f"{folder} exists. Pass `overwrite=True`, or another folder."
        raise FileExistsError(msg)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.parent / f".{folder.name}.{uuid4().hex}"
    draft.mkdir()  # with the permissions of any other folder
    try:
        (draft / _JSON_FILE).write_text(json.dumps(json.loads(checkpoint.description), indent=1))
        arrays = {name: np.array(value, order="C") for name, value in checkpoint.arrays.items()}
        save_file(arrays, draft / _WEIGHTS_FILE)
        shutil.copymode(draft / _JSON_FILE, draft / _WEIGHTS_FILE)  # safetensors writes for its owner alone
        _replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load_folder(folder: Path) -> Checkpoint:
    """Read a checkpoint from a folder.

    Raises
    ------
    FileNotFoundError
        The folder or one of its two files is not there.
    """
    for name in (_JSON_FILE, _WEIGHTS_FILE):
        if not (folder / name).is_file():
            msg = f"{folder} holds no {name!r}. Give a folder that `spm.tl.save_predictor` wrote."
            raise FileNotFoundError(msg)
    return Checkpoint((folder / _JSON_FILE).read_text(), load_file(folder / _WEIGHTS_FILE))


def _replace(draft: Path, folder: Path) -> None:
    """Put the draft where the folder is, keeping the old one until the new one stands."""
    if not folder.exists():
        os.replace(draft, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.replace(folder, old / folder.name)
    os.replace(draft, folder)
    shutil.rmtree(old)
