"""The subspace in which cells vary most, alone or drawn towards gene sets; shapes: n cells, g genes, k axes, s sets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_EXACT = 3000  # beyond this many cells and genes, the decomposition is randomised
_RANK_TOLERANCE = 1e-9
_WEAKEST = 0.05  # no set's direction is weaker than this share of the strongest


def principal_axes(x: Tensor, width: int) -> Tensor:
    """Return the first principal axes of centred cells ``x`` (n, g): orthonormal columns (g, k), k <= width.

    There are fewer than ``width`` where the cells span less. Of each axis the largest entry is positive.
    """
    x = x.double()
    if min(x.shape) > _EXACT:
        _, scale, axes = torch.svd_lowrank(x, q=min(width + 20, *x.shape), niter=8)
        axes = axes[:, :width]
        return _signed(axes[:, scale[:width] > 0])
    wide = x.shape[0] < x.shape[1]
    values, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
    vectors = vectors[:, values > _RANK_TOLERANCE * values[:1].clamp(min=1e-300)]
    axes = torch.linalg.qr(x.T @ vectors)[0] if wide else vectors
    return _signed(axes)


def guided_axes(x: Tensor, sets: Tensor, width: int, strengths: Sequence[float]) -> list[Tensor]:
    """Return, for each strength, axes (g, k) that hold the variance of cells ``x`` (n, g) and the ``sets`` (g, s).

    The sets enter as if they were further cells that make up a share ``strength`` of all variance: 0 gives the
    principal axes, 1 the span of the sets. Axes are sought among the first ``4 * width`` principal ones and the sets.
    """
    x, sets = x.double(), _unit_columns(sets.double())
    basis = torch.linalg.qr(torch.cat([principal_axes(x, 4 * width), sets], dim=1))[0]
    in_basis = x @ basis
    of_cells = in_basis.T @ in_basis / x.square().sum()
    set_in_basis = basis.T @ sets
    of_sets = set_in_basis @ set_in_basis.T / sets.square().sum()
    found = []
    for strength in strengths:
        values, vectors = torch.linalg.eigh((1 - strength) * of_cells + strength * of_sets)
        values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
        found.append(basis @ vectors[:, values > _RANK_TOLERANCE * values[0]])
    return found


def along_sets(axes: Tensor, sets: Tensor) -> Tensor:
    """Return one column per set (g, s) that lies in the span of ``axes`` (g, k), nearest to the set in least squares.

    Directions that the sets hardly touch are lifted, so that the columns span as much as they can.
    """
    left, scale, right = torch.linalg.svd(axes.T @ _unit_columns(sets.double()), full_matrices=False)
    return axes @ (left * scale.clamp(min=_WEAKEST * float(scale.max()))) @ right


def masked_axes(x: Tensor, mask: Tensor) -> Tensor:
    """Return (g, s): the first principal axis of each set's own genes, zero outside the set, on the whole positive."""
    x, columns = x.double(), torch.zeros(mask.shape, dtype=torch.float64)
    for number in range(mask.shape[1]):
        genes = torch.nonzero(mask[:, number]).squeeze(1)
        axis = principal_axes(x[:, genes], 1)
        if axis.shape[1]:
            columns[genes, number] = axis[:, 0] * (1 if float(axis.sum()) >= 0 else -1)
    return columns


def residual_squares(x: Tensor, axes: Tensor) -> Tensor:
    """Return, per cell (n,), the squared length of what the span of orthonormal ``axes`` (g, k) leaves over."""
    x = x.double()
    return x.square().sum(1) - (x @ axes).square().sum(1)


def _unit_columns(matrix: Tensor) -> Tensor:
    return matrix / matrix.norm(dim=0).clamp(min=1e-12)


def _signed(axes: Tensor) -> Tensor:
    if axes.shape[1] == 0:
        return axes
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return axes * torch.where(largest < 0, -1.0, 1.0)
