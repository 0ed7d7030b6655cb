"""Say what runs."""

from __future__ import annotations

from scperturbmamba._settings import settings
from scperturbmamba.engine.kernels import describe


def describe_engine() -> str:
    """Say which engine runs the network here, and why.

    Returns
    -------
    One line, as ``uns["predictor"]["report"]["engine"]`` has it after a training. No number depends on it.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> spm.settings.engine = "torch"
    >>> spm.describe_engine()
    'torch scan, as `spm.settings.engine` asks'
    >>> spm.settings.engine = "auto"
    """
    return describe(settings.engine)
