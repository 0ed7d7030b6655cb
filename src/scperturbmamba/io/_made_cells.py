"""Cells that stand for a prediction: drawn ones, normalised, or real control cells moved to a predicted mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_finite
from scperturbmamba.io._pairing import Pairing
from scperturbmamba.io._shift import shift_to_mean


@dataclass(frozen=True)
class MadeCells:
    """Cells of predictions.

    Attributes
    ----------
    matrix
        (cells × genes), CSR, log-normalised.
    row
        (cells,): row of the pairing.
    """

    matrix: sp.csr_matrix
    row: NDArray[np.int64]


def shifted_cells(
    predicted: AnnData, expression: sp.csr_matrix, pairing: Pairing, *, n_cells: int | None, rng: np.random.Generator
) -> MadeCells:
    """Move control cells, drawn at random, to the control mean plus the predicted effect.

    Raises
    ------
    ValueError
        A condition has several rows, or an effect is not finite.
    """
    places = np.flatnonzero(pairing.place >= 0)
    rows = pairing.place[places]
    if len(set(rows)) < len(rows):
        msg = (
            "expected one profile per condition, or cells of whole counts; found several rows of one condition that "
            "hold fractions. Average them, or pass the raw counts."
        )
        raise ValueError(msg)
    delta = np.asarray(predicted.layers[_keys.DELTA], dtype=np.float64)[places]
    check_finite(delta, what='`predicted.layers["delta"]`')
    blocks, sizes = [], []
    for row, effect in zip(rows, delta):
        control = expression[pairing.group == pairing.control[row]]
        n = int((pairing.group == row).sum()) if n_cells is None else n_cells
        chosen = rng.choice(control.shape[0], n, replace=n > control.shape[0])
        mean = np.asarray(control.mean(axis=0, dtype=np.float64)).ravel() + effect
        blocks.append(sp.csr_matrix(shift_to_mean(control[chosen].toarray(), mean)))
        sizes.append(n)
    return MadeCells(sp.vstack(blocks, format="csr"), np.repeat(rows, sizes))


def drawn_cells(
    predicted: AnnData, expression: sp.csr_matrix, pairing: Pairing, *, n_cells: int | None, rng: np.random.Generator
) -> MadeCells:
    """Scale sampled counts to the usual total of control cells over these genes, and take log(1 + x)."""
    chosen = []
    for row in dict.fromkeys(pairing.place[pairing.place >= 0]):
        cells = np.flatnonzero(pairing.place == row)
        fewer = n_cells is not None and n_cells < len(cells)
        chosen.append(np.sort(rng.choice(cells, n_cells, replace=False)) if fewer else cells)
    cells = np.concatenate(chosen)
    counts = sp.csr_matrix(predicted.X[cells], dtype=np.float64)
    size = np.asarray(counts.sum(axis=1)).ravel()
    factor = np.divide(_usual_total(expression, pairing), size, out=np.zeros_like(size), where=size > 0)
    scaled = sp.csr_matrix(sp.diags(factor) @ counts)
    return MadeCells(sp.csr_matrix(scaled.log1p(), dtype=np.float32), pairing.place[cells])


def _usual_total(expression: sp.csr_matrix, pairing: Pairing) -> float:
    """Return the median total of control cells in natural units: 10,000, or less where ``X`` holds more genes."""
    controls = expression[np.isin(pairing.group, pairing.control[pairing.control >= 0])]
    return float(np.median(np.asarray(controls.expm1().sum(axis=1, dtype=np.float64))))
