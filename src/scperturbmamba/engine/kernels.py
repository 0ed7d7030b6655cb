"""What a mixer runs on: the CUDA kernels of mamba-ssm, loaded once, or plain torch, with the same numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor

from scperturbmamba.engine import ssd
from scperturbmamba.engine.scan import Weights, mix_with

_log = logging.getLogger("scperturbmamba")
_CHUNK = 256

Engine = Literal["auto", "torch", "mamba_ssm"]


@lru_cache(maxsize=1)
def load_kernel() -> Callable[..., Any] | None:
    """Return ``mamba_chunk_scan_combined``, or None after one line that says why it does not load."""
    if not torch.cuda.is_available():
        return None
    try:
        module = import_module("mamba_ssm.ops.triton.ssd_combined")
        kernel: Callable[..., Any] = module.mamba_chunk_scan_combined
    except Exception as error:  # noqa: BLE001  an ABI mismatch raises OSError, a broken triton anything
        _log.warning("mamba-ssm kernels did not load (%s); the torch scan runs instead, with the same numbers.", error)
        return None
    return kernel


def mix(proj: Tensor, weights: Weights, dt: Tensor, A: Tensor, *, engine: Engine = "auto") -> Tensor:
    """Do what lies between the projections of a mixer in the fastest form at hand; no number depends on which.

    Raises
    ------
    RuntimeError
        ``engine="mamba_ssm"`` and the kernels do not load, or the tensors are not on a GPU.
    """
    kernel = load_kernel() if engine != "torch" and proj.is_cuda else None
    if kernel is not None:
        return mix_with(partial(scan_kernel, kernel), proj, weights, dt, A)
    if engine == "mamba_ssm":
        msg = (
            'engine "mamba_ssm" needs a CUDA GPU and an importable mamba-ssm. Found neither or one. '
            'Set `spm.settings.engine = "auto"`.'
        )
        raise RuntimeError(msg)
    return ssd.mix(proj, weights, ssd.edges(dt, A))


def scan_kernel(kernel: Callable[..., Any], x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Run both directions in one launch: the reversed copy rides along as further heads with a group of their own."""
    h = x.shape[2]
    both = torch.cat([x, x.flip(1)], dim=2)  # (b, l, 2h, p)
    step = torch.cat([dt[:, :, 0], dt[:, :, 1].flip(1)], dim=2).float()  # (b, l, 2h)
    write = torch.stack([B, B.flip(1)], dim=2)  # (b, l, 2, n)
    read = torch.stack([C, C.flip(1)], dim=2)
    y = kernel(both.contiguous(), step.contiguous(), A.reshape(-1).float(), write.to(x.dtype), read.to(x.dtype), _CHUNK)
    return y[:, :, :h] + y[:, :, h:].flip(1)


def describe(engine: Engine = "auto") -> str:
    """Say in one line which scan runs, and why."""
    if engine == "torch":
        return "torch scan, as `spm.settings.engine` asks"
    if not torch.cuda.is_available():
        return "torch scan: no CUDA GPU"
    return "mamba-ssm kernels" if load_kernel() is not None else "torch scan: mamba-ssm does not load"
