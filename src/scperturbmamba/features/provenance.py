"""A fingerprint of what features were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def fingerprint(source: Any) -> str:
    """Return the sha256 of a file's content, a table, an array, a mapping or a list of names."""
    digest = hashlib.sha256()
    if isinstance(source, (str, Path)):
        with open(source, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    elif isinstance(source, (pd.DataFrame, pd.Series)):
        digest.update(source.to_csv().encode())
    elif isinstance(source, np.ndarray):
        digest.update(f"{source.shape}{source.dtype}".encode())
        digest.update(np.ascontiguousarray(source).tobytes())
    elif isinstance(source, Mapping):
        tidy = {str(key): [str(one) for one in value] for key, value in source.items()}
        digest.update(json.dumps(tidy, sort_keys=True).encode())
    else:
        digest.update("\n".join(str(one) for one in source).encode())
    return digest.hexdigest()
