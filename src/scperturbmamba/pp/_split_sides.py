"""The side of each cell under every scheme; control cells are left to the caller."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names
from scperturbmamba.data.conditions import Condition, part_names
from scperturbmamba.data.dose_splits import MIDDLE, by_dose, by_pair
from scperturbmamba.data.given_sides import read_file, read_mapping, read_side
from scperturbmamba.data.screen_units import screen_units
from scperturbmamba.data.splits import Shares, Sides, hold_out, split_cells

CELL, CONTEXT, DOSE, PAIR = "cell", "context", "dose", "pair"


def condition_sides(
    labels: pd.Series,
    scheme: Callable[[Sequence[Condition], Shares, np.random.Generator], Sides],
    shares: Shares,
    rng: np.random.Generator,
) -> pd.Series:
    """Give every cell the side of its condition."""
    sides = scheme(_conditions(labels), shares, rng)
    return labels.map({condition.label: side for condition, side in sides.items()})


def cell_sides(labels: pd.Series, level: pd.Series, shares: Shares, rng: np.random.Generator) -> pd.Series:
    """Divide the cells of every condition in every context, the controls as well."""
    side = pd.Series(np.nan, index=labels.index, dtype=object)
    known = labels.notna().to_numpy()
    groups = pd.factorize(labels[known] + "\t" + level[known], sort=True)[0]
    side[known] = split_cells(groups, test_size=shares.test, val_size=shares.val, rng=rng)
    return side


def context_sides(
    labels: pd.Series,
    level: pd.Series | None,
    held_out: str | Sequence[str] | None,
    n_shots: int,
    shares: Shares,
    rng: np.random.Generator,
) -> pd.Series:
    """Hold out whole contexts, but for a few perturbations that are seen there.

    Raises
    ------
    ValueError
        There is no context, the levels are unknown, or nothing would be left.
    """
    levels = [] if level is None else sorted(set(level) - {"nan"})
    held = [] if held_out is None else as_names(held_out)
    if not held or not set(held) < set(levels):
        msg = (
            "the scheme 'context' needs `context=`, a column of `adata.obs`, and `held_out=`, some of its levels "
            f"but not all; found held_out={held} and levels {levels}."
        )
        raise ValueError(msg)
    in_held = np.isin(np.asarray(level, dtype=object), held)
    treated = (labels.notna() & (labels != _keys.CONTROL)).to_numpy()
    here = sorted(set(labels[treated & in_held]))
    if not 0 <= n_shots < len(here):
        msg = (
            f"`n_shots` must be from 0 to {len(here) - 1}, one less than the perturbations in {held}; found {n_shots}."
        )
        raise ValueError(msg)
    shots = set(rng.permutation(np.array(here, dtype=object))[: int(n_shots)])
    elsewhere = _conditions(labels[treated & ~in_held])
    validated = {one.label for one in hold_out(elsewhere, shares.val, rng)} if len(elsewhere) > 1 else set()
    if not validated or len(validated) == len(elsewhere):
        n = len(elsewhere)
        msg = f"expected at least two perturbations in the other contexts, to train and to validate; found {n}."
        raise ValueError(msg)
    side = pd.Series(_keys.TRAIN, index=labels.index, dtype=object).where(labels.notna())
    side[treated & in_held & ~labels.isin(shots).to_numpy()] = _keys.TEST
    side[treated & ~in_held & labels.isin(validated).to_numpy()] = _keys.VAL
    side[~treated] = np.nan
    return side


def dose_sides(
    labels: pd.Series, held_out: str | Sequence[str] | None, shares: Shares, rng: np.random.Generator
) -> pd.Series:
    """Hold out one dose of each drug with several."""
    which = [MIDDLE] if held_out is None else as_names(held_out)
    sides = by_dose(_conditions(labels), shares, which[0] if len(which) == 1 else str(which), rng)
    return labels.map({condition.label: side for condition, side in sides.items()})


def pair_sides(labels: pd.Series, level: pd.Series | None, shares: Shares, rng: np.random.Generator) -> pd.Series:
    """Hold out conditions in contexts, both of which are seen elsewhere.

    Raises
    ------
    ValueError
        There is no context, or too few pairs can be held out.
    """
    if level is None:
        msg = "the scheme 'pair' needs `context=`, a column of `adata.obs` such as the cell line; found none."
        raise ValueError(msg)
    treated = (labels.notna() & (labels != _keys.CONTROL)).to_numpy()
    pairs = pd.MultiIndex.from_arrays([labels.to_numpy(), level.to_numpy()])
    sides = by_pair(sorted(set(pairs[treated])), shares, rng)
    return pd.Series([sides.get(pair, np.nan) for pair in pairs], index=labels.index, dtype=object)


def assigned_sides(
    adata: AnnData,
    labels: pd.Series,
    scheme: str | Path | Mapping[str, Any],
    shares: Shares,
    rng: np.random.Generator,
) -> pd.Series:
    """Read sides from a column, a file or a mapping; without a validation side, training gives some of its own.

    Raises
    ------
    ValueError
        A word names no side, or nothing is on the training or the test side.
    """
    if isinstance(scheme, str) and scheme in adata.obs:
        column = adata.obs[scheme]
        words = {word: read_side(word) for word in column.dropna().unique()}
        side = column.astype(object).map(words).where(labels.notna())
    else:
        given = scheme if isinstance(scheme, Mapping) else read_file(Path(scheme))
        known = frozenset(part_names(_conditions(labels))) | frozenset(map(str, adata.var_names))
        sides = read_mapping(given, known, screen_units(adata))
        side = labels.map(sides)
        _warn_of_strangers(sides, labels)
    treated = (labels.notna() & (labels != _keys.CONTROL)).to_numpy()
    found = set(side[treated].dropna())
    if not {_keys.TRAIN, _keys.TEST} <= found:
        msg = f"the given split must put conditions of this screen on train and on test; found {sorted(found)}."
        raise ValueError(msg)
    if _keys.VAL not in found:
        training = _conditions(labels[treated & (side == _keys.TRAIN).to_numpy()])
        validated = {one.label for one in hold_out(training, shares.val, rng)}
        if len(validated) == len(training):
            msg = f"expected at least two training conditions, one of them to validate; found {len(training)}."
            raise ValueError(msg)
        side[treated & (side == _keys.TRAIN).to_numpy() & labels.isin(validated).to_numpy()] = _keys.VAL
    return side


def _conditions(labels: pd.Series) -> list[Condition]:
    """Return the treated conditions among labels, sorted."""
    return [Condition.parse(label) for label in sorted(set(labels.dropna()) - {_keys.CONTROL})]


def _warn_of_strangers(sides: Mapping[str, str], labels: pd.Series) -> None:
    here = set(labels.dropna()) - {_keys.CONTROL}
    without, strangers = sorted(here - set(sides)), sorted(set(sides) - here - {_keys.CONTROL})
    if without or strangers:
        text = (
            f"the given split says nothing of {len(without)} conditions of this screen, such as {without[:3]}, which "
            f"get no side; it names {len(strangers)} that are not in it, such as {strangers[:3]}."
        )
        warnings.warn(text, UserWarning, stacklevel=4)
