"""scperturbmamba: what a perturbation does to the whole transcriptome, and back, on AnnData.

The rooms load when they are first used; ``import scperturbmamba`` itself loads anndata only.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import anndata  # noqa: F401

from scperturbmamba._settings import settings

if TYPE_CHECKING:
    from scperturbmamba import datasets, get, io, metrics, pl, pp, tl
    from scperturbmamba.tl._engine import describe_engine

__version__ = version("scperturbmamba")
__all__ = ["datasets", "describe_engine", "get", "io", "metrics", "pl", "pp", "settings", "tl"]

_ROOMS = frozenset({"datasets", "get", "io", "metrics", "pl", "pp", "tl"})


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"scperturbmamba.{name}")
    if name == "describe_engine":
        return import_module("scperturbmamba.tl._engine").describe_engine
    msg = f"module 'scperturbmamba' has no attribute {name!r}. It has: {', '.join(__all__)}."
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
