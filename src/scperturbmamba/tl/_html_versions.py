"""What a report was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "scperturbmamba", "anndata", "numpy", "pandas", "scipy", "scikit-learn", "torch", "lightning", "mamba-ssm",
    "matplotlib",
)  # fmt: skip


def versions() -> list[tuple[str, str]]:
    """Return Python, the system, and every package that the numbers may depend on, with its version."""
    found = [("Python", platform.python_version()), ("System", platform.platform(terse=True))]
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
