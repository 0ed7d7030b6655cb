"""Whether what a model reads was made from the label, or from held-out cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scperturbmamba.data.findings import CLEAN, LEAK, NOT_CHECKED, WARNING, Finding, counted, merged, some
from scperturbmamba.data.interventions import with_foreign_test_cells, with_permuted_labels
from scperturbmamba.data.label_shares import follows_labels
from scperturbmamba.tl._audited import CONSTANT, HONEST, Audited
from scperturbmamba.tl._model_inputs import Input, InputMaker, shape_input

_MOVED = 1e-5  # relative change of inputs that is no rounding
_UNSTEADY = 1e-2  # relative change between two calls on the same data
_SURE = 6.0  # standard deviations
_PASS = "pass what your model reads: `inputs=` an obsm or obs name, a table per condition, or a function"
_NO_LABEL = (
    "make a cell's inputs from its expression, never from its label (nor from a batch that holds one label only)"
)
_FORWARD = "inputs per condition are a function of the condition: right to predict effects, useless to read labels back"


# ---------------------------------------------------------------- the label in the input


def label_in_inputs(one: Audited, inputs: list[Input]) -> Finding:
    """Look for inputs of cells that the cell's own label decides."""
    if not inputs:
        return Finding(NOT_CHECKED, "no inputs were given", _PASS)
    return merged(finding for given in inputs for finding in _label_in_input(one, given))


def _label_in_input(one: Audited, given: Input) -> Iterator[Finding]:
    if given.conditions is not None:
        yield Finding(NOT_CHECKED, f"{given.name}: {_FORWARD}")
        return
    yield _label_tells(one, given)
    if given.make is not None:
        yield _moves_with_labels(one, given, given.make)


def _label_tells(one: Audited, given: Input) -> Finding:
    """Compare the variance within labels, and the labels of nearest neighbours, with what expression gives."""
    told, n_columns = one.told_by_label(given.cells), given.cells.shape[1]
    if np.isnan(told.lowest_share):
        return Finding(NOT_CHECKED, f"{given.name}: does not vary, or there are too few cells")
    numbers = f"lowest variance within labels {told.lowest_share:.2%} of the total, in expression {one.least_share:.0%}"
    numbers += f"; nearest cell of the same label for {told.near:.0%} of cells, in expression {told.near_usual:.0%}"
    if not told.too_much:
        return Finding(CLEAN, f"{given.name}: {numbers}")
    found = "it tells labels as expression cannot"
    if told.n_low:
        found = f"the label decides {told.n_low} of {counted(n_columns, 'column')}"
        found += "" if told.lowest_share < CONSTANT else ", but for noise"
    return Finding(LEAK, f"{given.name}: {found} ({numbers})", _NO_LABEL)


def _moves_with_labels(one: Audited, given: Input, make: InputMaker) -> Finding:
    """Permute the labels and call the function again: nothing but the label can then tie inputs to labels."""
    changed, source = with_permuted_labels(one.adata, one.held, one.rng)
    again = _again(one, given, make(changed)).cells
    cells = np.flatnonzero(one.held.side != "")
    strata = pd.factorize(one.held.side[cells] + "\t" + one.held.level[cells])[0]
    sigmas = follows_labels(again[cells], one.held.group[source][cells], strata, rng=one.rng)
    if abs(sigmas) > _SURE:
        found = f"{given.name}: with permuted labels the inputs follow the new labels"
        return Finding(LEAK, f"{found} ({abs(sigmas):.0f} standard deviations from chance)", _NO_LABEL)
    return Finding(CLEAN, f"{given.name}: with permuted labels the inputs do not follow the new labels")


# ---------------------------------------------------------------- held-out cells in the input


def held_out_cells_in_inputs(one: Audited, inputs: list[Input]) -> Finding:
    """Look for inputs of held-out conditions that were made from the cells of these conditions."""
    if not inputs:
        return Finding(NOT_CHECKED, "no inputs were given", _PASS)
    return merged(finding for given in inputs for finding in _held_out_in_input(one, given))


def _held_out_in_input(one: Audited, given: Input) -> Iterator[Finding]:
    if given.conditions is not None:
        yield one.copies(given.conditions, given.name)
    elif given.make is None:
        found = f"{given.name}: inputs of cells, which may be made of their own expression"
        yield Finding(NOT_CHECKED, found, "pass the function that makes them, `inputs=`, to see what it was fitted on")
    if given.make is not None and len(_watched(one, given)):
        yield _moves_with_cells(one, given, given.make)


def _moves_with_cells(one: Audited, given: Input, make: InputMaker) -> Finding:
    """Give held-out cells the expression of training controls and call the function again."""
    foreign = with_foreign_test_cells(one.adata, one.held, one.rng)
    before, again, after = (
        _watched(one, each)
        for each in (given, *(_again(one, given, make(data)) for data in (one.adata.copy(), foreign)))
    )
    noise, moved = _change(before, again), _change(before, after)
    if noise > _UNSTEADY:
        found = f"{given.name}: two calls on the same data differ by {noise:.0%}"
        return Finding(NOT_CHECKED, found, "give the function a fixed seed")
    told = "held-out cells get the expression of training controls"
    if moved <= _MOVED + 10 * noise:
        return Finding(CLEAN, f"{given.name}: the inputs stay as they are when {told}")
    if given.conditions is not None:
        found = f"{given.name}: the inputs of {counted(len(before), 'held-out condition')} ({some(before.index)})"
        return Finding(LEAK, f"{found} change by {moved:.0%} when {told}", HONEST)
    found = f"{given.name}: the inputs of other cells change by {moved:.1%} when {told}"
    return Finding(WARNING, found, "fit what makes the inputs on training cells")


def _watched(one: Audited, given: Input) -> pd.DataFrame:
    """Return the inputs of held-out conditions, or of the treated and control cells that are not replaced."""
    if given.conditions is not None:
        return given.conditions[given.conditions.index.isin(one.held.test_conditions)]
    kept = np.flatnonzero((one.held.side != "") & ~(one.held.treated & one.held.test))
    values = given.cells[kept]
    return pd.DataFrame(np.asarray(values.todense() if sp.issparse(values) else values), index=kept)


def _change(before: pd.DataFrame, after: pd.DataFrame) -> float:
    """Return the size of the change relative to how much inputs differ, infinity where rows or columns do."""
    if before.shape[1] != after.shape[1] or not before.index.isin(after.index).all():
        return float("inf")
    old, new = before.to_numpy(), after.loc[before.index].to_numpy()
    spread = np.linalg.norm(old - old.mean(axis=0)) or np.linalg.norm(old) or 1.0
    return float(np.linalg.norm(new - old) / spread)


def _again(one: Audited, given: Input, made: Any) -> Input:
    return shape_input(one.adata, one.held, given.name, made)
