"""What holds for a whole session: device, engine, cache folder, progress bars, processes."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from typing import ClassVar, Literal

_DEVICES = ("auto", "cpu", "cuda", "mps")
_ENGINES = ("auto", "torch", "mamba_ssm")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


class Settings:
    """Session-wide choices, as ``spm.settings``.

    Attributes
    ----------
    device
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"`` or ``"mps"``.
    engine
        ``"auto"`` (the CUDA kernels of mamba-ssm where they load, else torch), ``"torch"`` or ``"mamba_ssm"``.
        The numbers do not depend on it.
    cache_dir
        Where downloads are kept; ``SPM_CACHE`` sets it from outside.
    progress
        Show progress bars.
    n_jobs
        Processes of a benchmark, 1 or more.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> spm.settings.device
    'auto'
    """

    _choices: ClassVar[dict[str, tuple[str, ...]]] = {"device": _DEVICES, "engine": _ENGINES}

    device: Literal["auto", "cpu", "cuda", "mps"]
    engine: Literal["auto", "torch", "mamba_ssm"]
    cache_dir: Path
    progress: bool
    n_jobs: int

    def __init__(self) -> None:
        self.device = "auto"
        self.engine = "auto"
        self.cache_dir = Path(os.environ.get("SPM_CACHE", Path.home() / ".cache" / "scperturbmamba"))
        self.progress = True
        self.n_jobs = 1

    def __setattr__(self, name: str, value: object) -> None:
        known = ("device", "engine", "cache_dir", "progress", "n_jobs")
        if name not in known:
            msg = f"`spm.settings` has no {name!r}. Choose one of {', '.join(known)}."
            raise AttributeError(msg)
        allowed = self._choices.get(name)
        if allowed is not None and value not in allowed:
            msg = f"`spm.settings.{name}` must be one of {', '.join(allowed)}; found {value!r}."
            raise ValueError(msg)
        if name == "progress" and not isinstance(value, bool):
            msg = f"`spm.settings.progress` must be True or False; found {value!r}."
            raise TypeError(msg)
        if name == "n_jobs" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            msg = f"`spm.settings.n_jobs` must be a whole number, 1 or more; found {value!r}."
            raise ValueError(msg)
        if name == "cache_dir" and not isinstance(value, (str, os.PathLike)):
            msg = f"`spm.settings.cache_dir` must be a path; found {value!r}."
            raise TypeError(msg)
        super().__setattr__(name, Path(str(value)) if name == "cache_dir" else value)

    def keep_memory(self) -> bool:
        """Let this process keep the memory it has used, on Linux, for faster training on a CPU.

        A network at full length makes arrays of tens of MB in every step. By default the C library gives each of them
        back to the system and takes it anew, page by page. It holds for the whole process, whose memory then stays at
        its peak until it ends, and cannot be undone; so it is never done for you.

        Returns
        -------
        Whether it took: True with glibc, False elsewhere.

        Examples
        --------
        >>> import scperturbmamba as spm
        >>> took = spm.settings.keep_memory()
        """
        if platform.libc_ver()[0] != "glibc":
            return False
        libc = ctypes.CDLL(None)
        return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))

    def __repr__(self) -> str:
        return (
            f"Settings(device={self.device!r}, engine={self.engine!r}, "
            f"cache_dir={str(self.cache_dir)!r}, progress={self.progress}, n_jobs={self.n_jobs})"
        )


settings = Settings()
