"""An ``.h5ad`` that is written row by row, and goes on where it was left."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
from anndata import AnnData
from anndata.io import write_elem
from numpy.typing import NDArray

_DONE, _FINGERPRINT = "rows_done", "fingerprint"
_PARTS = ("obs", "var", "uns", "obsm", "varm", "obsp", "varp", "layers")


class EffectFile:
    """Rows × genes under a name of its own until it is whole; then it takes the name that was asked for."""

    def __init__(self, path: Path, shape: tuple[int, int], *, fingerprint: str) -> None:
        self.path, self.partial = path, path.with_name(path.name + ".partial")
        if path.exists():
            msg = f"{path} is there already. Give another `out=`, or remove it."
            raise FileExistsError(msg)
        self.file = h5py.File(self.partial, "a")
        try:
            self._open(shape, fingerprint)
        except BaseException:
            self.file.close()
            raise

    def _open(self, shape: tuple[int, int], fingerprint: str) -> None:
        if _FINGERPRINT not in self.file.attrs:
            x = self.file.create_dataset("X", shape, np.float32, chunks=(1, shape[1]))
            x.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            self.file.attrs[_DONE] = 0
            self.file.attrs[_FINGERPRINT] = fingerprint
        elif self.file.attrs[_FINGERPRINT] != fingerprint:
            msg = (
                f"{self.partial} holds part of another screen: other perturbations, or another predictor. Give another "
                "`out=`, or remove it."
            )
            raise ValueError(msg)

    @property
    def done(self) -> int:
        """Rows written so far."""
        return int(self.file.attrs[_DONE])

    def write(self, rows: NDArray[np.float32]) -> None:
        """Add rows; once this returns they are kept, whatever happens."""
        start = self.done
        self.file["X"][start : start + len(rows)] = rows
        self.file.flush()
        self.file.attrs[_DONE] = start + len(rows)
        self.file.flush()

    def finish(self, adata: AnnData) -> None:
        """Add everything but X, and give the file its name."""
        for name in _PARTS:
            value = getattr(adata, name)
            write_elem(self.file, name, value if name in ("obs", "var") else dict(value))
        for name in (_DONE, _FINGERPRINT):
            del self.file.attrs[name]
        self.file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        self.file.close()
        os.replace(self.partial, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
