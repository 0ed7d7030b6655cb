"""Rooms for what lies between two steps, kept from part to part and from call to call.

Taking memory anew costs more than the arithmetic done in it: the system hands it out page by page, and none of it is in
the cache. A room is known by its name; who takes it again overwrites it.
"""

from __future__ import annotations

import math
import threading

import torch
from torch import Tensor


class Scratch(threading.local):
    """Rooms of one thread; a GPU has an allocator that keeps memory, so there each room is new."""

    def __init__(self) -> None:
        self.rooms: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return a room with anything in it."""
        if device.type != "cpu":
            return torch.empty(shape, dtype=dtype, device=device)
        size = math.prod(shape)
        room = self.rooms.get((name, dtype))
        if room is None or len(room) < size:
            with torch.inference_mode(mode=False):  # a room made in inference could not be used in training
                room = self.rooms[name, dtype] = torch.empty(size, dtype=dtype)
        return room[:size].view(shape)


SCRATCH = Scratch()
