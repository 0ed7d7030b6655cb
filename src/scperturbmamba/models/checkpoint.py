"""What was trained as one JSON string plus arrays, for ``uns`` or for a folder; no pickle anywhere."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

_JSON_FILE, _WEIGHTS_FILE = "predictor.json", "weights.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """What was trained, as it can be written anywhere.

    Attributes
    ----------
    description
        JSON: schema version, package versions, settings, names, what was found.
    arrays
        Name to array.
    """

    description: str
    arrays: Mapping[str, NDArray[Any]]


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
