"""A screen under audit: what several checks read of it, computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba.data.components import Components, principal_components
from scperturbmamba.data.condition_means import ConditionMeans
from scperturbmamba.data.findings import CLEAN, LEAK, NOT_CHECKED, WARNING, Finding, counted, some
from scperturbmamba.data.held_out import HeldOut
from scperturbmamba.data.interventions import is_numeric
from scperturbmamba.data.label_shares import neighbour_agreement, some_cells, within_shares
from scperturbmamba.data.likeness import Likeness, most_alike, most_parameters

HONEST = "make them from gene features, files or training control cells: `spm.tl.gene_features(adata)`"
CONSTANT = 1e-6  # variance within labels over total variance of what the label decides
_SMALL = 0.01  # the same, for what it decides but for noise
_NEARLY = 0.95  # R² that deserves a second look
_FEWEST_CELLS = 50
_N_COMPONENTS = 50
_COMPONENTS = "the principal components of X"
_WIDEST = 2000  # columns of an entry of obsm that is compared


@dataclass(frozen=True)
class Told:
    """How far labels tell numbers of cells.

    Attributes
    ----------
    lowest_share
        Variance within labels over total variance, of the column that has least; NaN where nothing varies.
    n_low
        Columns that have too little.
    near, near_usual
        Share of cells whose nearest other cell has the same label: by these numbers, and by expression.
    too_much
        The numbers were made from the labels.
    """

    lowest_share: float = float("nan")
    n_low: int = 0
    near: float = float("nan")
    near_usual: float = float("nan")
    too_much: bool = False


@dataclass(frozen=True)
class Audited:
    """A screen, its split, and a source of random numbers."""

    adata: AnnData
    held: HeldOut
    rng: np.random.Generator

    @cached_property
    def components(self) -> Components:
        """Principal components of all cells, those without a side as well."""
        return principal_components(self.adata.X, _N_COMPONENTS)

    @cached_property
    def own_cells(self) -> list[ConditionMeans]:
        """Means over the cells of each condition of what the screen holds of its cells."""
        adata, group = self.adata, self.held.group
        found = [
            ConditionMeans.of(_COMPONENTS, self.components.scores(adata.X), group, any_map=True),
            ConditionMeans.of("X", adata.X, group, any_map=False),
        ]
        layers = {f'layers["{name}"]': adata.layers[name] for name in adata.layers if name is not None}
        found += [ConditionMeans.of(name, values, group, any_map=False) for name, values in layers.items()]
        for name, values in adata.obsm.items():
            if name != _keys.GUIDE_COUNTS and is_numeric(values) and 0 < values.shape[1] <= _WIDEST:
                plain = _plain(values)
                if not self.told_by_label(plain).too_much:  # else its means say nothing of the cells
                    found.append(ConditionMeans.of(f'obsm["{name}"]', plain, group, any_map=True))
        return [one for one in found if np.isfinite(one.means).all()]

    def _compared(self, labels: pd.Index) -> Iterator[ConditionMeans]:
        """Yield the means of some conditions: of components the first, and of X also the change against control."""
        places, names = pd.Index(self.held.names).get_indexer(labels), self.held.names
        for own in self.own_cells:
            some_rows = own.rows(places)
            yield some_rows.first(most_parameters(len(places))) if own.name == _COMPONENTS else some_rows
            if own.name == "X" and _keys.CONTROL in names:
                control = own.means[names.index(_keys.CONTROL)]
                yield replace(some_rows, name="X minus control", means=some_rows.means - control)

    @cached_property
    def least_share(self) -> float:
        """The lowest variance within labels over total variance that a component of expression, or a gene, has."""
        cells = np.flatnonzero(self.held.side != "")
        matrix = self.adata.X[cells]
        both = (matrix, self.components.scores(matrix))
        return float(min(np.nanmin(within_shares(one, self.held.group[cells])) for one in both))

    def told_by_label(self, values: Any) -> Told:
        """Measure how far the labels of cells tell numbers of these cells, and the numbers the labels.

        Too much is a column whose variance within labels is below 1 % of the total and below a tenth of the least that
        expression has, or columns by which the nearest cell has the same label for 90 % of cells, with a tenth of the
        errors that expression makes. Both are more than expression can do, unless it tells labels almost perfectly.
        """
        cells = np.flatnonzero(self.held.side != "")
        group, values = self.held.group[cells], values[cells]
        shares = np.fmin(within_shares(values, group), within_shares(values, group, skip_zeros=True))
        if np.isnan(shares).all() or len(cells) < _FEWEST_CELLS:
            return Told()
        chosen = some_cells(group, np.random.default_rng(0))
        expression = self.adata.X[cells[chosen]]
        near, *others = (
            neighbour_agreement(matrix, group[chosen])
            for matrix in (values[chosen], expression, self.components.scores(expression))
        )
        n_low = int((shares < max(CONSTANT, min(_SMALL, self.least_share / 10))).sum())
        too_near = near >= 0.9 >= max(others) and 1 - near <= (1 - max(others)) / 10
        return Told(float(np.nanmin(shares)), n_low, near, max(others), bool(n_low or too_near))

    def copies(self, given: pd.DataFrame, what: str) -> Finding:
        """Judge whether the rows of held-out conditions are copies or affine maps of the means of their own cells."""
        held = [name for name in given.index if name in self.held.test_conditions]
        if not held:
            return Finding(NOT_CHECKED, f"{what} has no row of a held-out condition")
        is_test = given.index.isin(held)
        alike = most_alike(given.to_numpy(np.float64), self._compared(given.index), is_test)
        return _judged(alike, what, given.shape[1], held)


def _judged(alike: Likeness, what: str, width: int, held: list[str]) -> Finding:
    rows = counted(len(held), "held-out row")
    if alike.n_equal:
        found = f"{what}: {alike.n_equal} of {rows} equal the mean of their own cells in {alike.source}"
        return Finding(LEAK, f"{found} ({some(held)})", HONEST)
    numbers = f"R² {max(alike.r2, 0):.3f}, at most {alike.ceiling:.3f} without having seen the cells"
    numbers += f"; {rows} among those left out in turn"
    if alike.n_columns:
        found = f"{what}: {alike.n_columns} of {counted(width, 'column')} follow the mean of own cells"
        return Finding(LEAK, f"{found} in {alike.source} too closely ({numbers})", HONEST)
    if not np.isfinite(alike.r2):
        found = f"{what}: no held-out row equals the mean of its own cells; too few rows to look for a map"
        return Finding(CLEAN, found)
    found = f"{what}: no column follows the mean of own cells too closely ({numbers})"
    return Finding(WARNING, found, HONEST) if alike.r2 > _NEARLY else Finding(CLEAN, found)


def _plain(values: Any) -> Any:
    values = values.to_numpy() if isinstance(values, pd.DataFrame) else values
    return sp.csr_matrix(values) if sp.issparse(values) else np.asarray(values, dtype=np.float64)
