"""Find the shape of a surface: the likeliest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.gate import Vector
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.surface.noise import RowNoise
from scperturbmamba.models.surface.points import Points
from scperturbmamba.models.surface.process import Process, likeliest, whitening
from scperturbmamba.models.surface.shape import Shape

_MOST, _FEW, _AXES = 400, 250, 20  # points, of a shape and of shares alone, and directions on which they are sought


def best_shape(
    points: Points, noise: RowNoise, y: Rows, rng: np.random.Generator, *, like: Shape | None = None
) -> Shape:
    """Return the shape that makes the measurements likeliest; of very many, some names are looked at.

    Where a shape is given to be ``like``, its doses, contexts and kinds are kept, and the shares alone are sought.
    """
    first = Shape.first_numbers(len(points.vectors))
    if len(points) < 3:
        return Shape.of_numbers(first)
    names = rng.permutation(np.unique(points.names))
    some = np.sort(
        np.concatenate([np.flatnonzero(points.names == name) for name in names])[: _MOST if like is None else _FEW]
    )
    axes = np.linalg.svd(y[some], full_matrices=False)[2][:_AXES]
    part, heard, seen = points.take(some), noise.take(some).along(axes), y[some] @ axes.T
    white = whitening(heard.between)

    def shape_of(numbers: Vector) -> Shape:
        found = Shape.of_numbers(numbers)
        return found if like is None else replace(like, shares=found.shares)

    def process_of(shape: Shape) -> Process:
        return Process(shape.between(part, part), white, seen, heard.level)

    free = _free(points) & ((like is None) | (np.arange(len(first)) >= Shape.n_settings))
    return shape_of(likeliest(lambda numbers: process_of(shape_of(numbers)), first, free))


def _free(points: Points) -> NDArray[np.bool_]:
    """Tell which numbers of a shape the measurements can say something about."""
    dosed = len(np.unique(points.dose)) > 1
    several = len(np.unique(points.context)) > 1
    free = [dosed, dosed, dosed, dosed, several, several and bool(np.isfinite(points.place).any())]
    free += [len(np.unique(points.kinds)) > 1, True, *(bool(one.any()) for one in points.vectors)]
    return np.array(free)
