"""Find the shape of a surface: the likeliest, without the sources that tell nothing of names left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.models.gate import mean_and_error
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.surface.noise import RowNoise
from scperturbmamba.models.surface.points import Points
from scperturbmamba.models.surface.process import Process, likeliest, whitening
from scperturbmamba.models.surface.shape import Shape, Vector

_MOST, _AXES = 400, 20  # points and directions on which the shape is sought


def best_shape(points: Points, noise: RowNoise, y: Rows, rng: np.random.Generator) -> Shape:
    """Return the shape that makes the measurements likeliest; of very many, some names are looked at.

    A source is dropped, the quietest first, where it does not foretell names left out by more than one standard error.
    """
    first = Shape.first_numbers(len(points.vectors))
    if len(points) < 3:
        return Shape.of_numbers(first)
    names = rng.permutation(np.unique(points.names))
    some = np.sort(np.concatenate([np.flatnonzero(points.names == name) for name in names])[:_MOST])
    axes = np.linalg.svd(y[some], full_matrices=False)[2][:_AXES]
    part, heard, seen = points.take(some), noise.take(some).along(axes), y[some] @ axes.T
    white = whitening(heard.between)

    def process_of(shape: Shape) -> Process:
        return Process(shape.between(part, part), white, seen, heard.level)

    shape = Shape.of_numbers(likeliest(lambda numbers: process_of(Shape.of_numbers(numbers)), first, _free(points)))
    groups, trust = part.groups(), heard.trust
    errors = _errors(process_of(shape), groups, trust)
    for source in np.argsort(shape.shares[2:]):
        tried = shape.without(int(source))
        without = _errors(process_of(tried), groups, trust)
        gain, error = mean_and_error(without - errors, np.ones(len(groups)))
        if gain <= error:
            shape, errors = tried, without
    return shape


def _errors(process: Process, groups: list[NDArray[np.int64]], trust: Vector) -> Vector:
    """Return the squared error of what is said of every group of points by the others (groups,)."""
    said = process.left_out(groups)
    return np.array([trust[rows] @ np.square(process.y[rows] - one).sum(1) for rows, one in zip(groups, said)])


def _free(points: Points) -> NDArray[np.bool_]:
    """Tell which numbers of a shape the measurements can say something about."""
    dosed = len(np.unique(points.dose)) > 1
    several = len(np.unique(points.context)) > 1
    free = [dosed, dosed, dosed, dosed, several, several and bool(np.isfinite(points.place).any())]
    free += [len(np.unique(points.kinds)) > 1, True, *(bool(one.any()) for one in points.vectors)]
    return np.array(free)
