"""The measured effects that predictions are judged by, and the same experiment repeated."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.control_groups import control_groups, warn_of_unmatched
from scperturbmamba.data.effect_table import read_effects
from scperturbmamba.data.profiles import control_rows, effect_profiles, group_rows
from scperturbmamba.data.responses import EFFECT, EXPRESSION
from scperturbmamba.data.statistics import against_rest, contrasts


@dataclass(frozen=True)
class Truth:
    """Measured effects on one side of the split, against control cells of the same side.

    Attributes
    ----------
    rows
        ``label`` and ``context`` of each row.
    mean
        (rows × genes): mean expression of the treated cells, NaN where nothing was measured.
    delta
        (rows × genes): minus the control cells of the same side.
    n_cells
        (rows,).
    t
        (rows × genes): effect over its standard error; the effect itself where there is none.
    t_rest
        (rows × genes): the same against all other treated cells of the context.
    """

    rows: pd.DataFrame
    mean: NDArray[np.float32]
    delta: NDArray[np.float32]
    n_cells: NDArray[np.int64]
    t: NDArray[np.float32]
    t_rest: NDArray[np.float32]

    def take(self, place: NDArray[np.int64]) -> Truth:
        """Return some of the rows."""
        some = {name: getattr(self, name)[place] for name in ("mean", "delta", "n_cells", "t", "t_rest")}
        return Truth(rows=self.rows.iloc[place], **some)

    def named(self, side: str) -> Truth:
        """Return the rows with the name of their side."""
        return replace(self, rows=self.rows.assign(side=side))


def stacked(parts: Sequence[Truth]) -> Truth:
    """Return the rows of several truths, one below the other."""
    return Truth(
        rows=pd.concat([one.rows for one in parts]),
        mean=np.concatenate([one.mean for one in parts]),
        delta=np.concatenate([one.delta for one in parts]),
        n_cells=np.concatenate([one.n_cells for one in parts]),
        t=np.concatenate([one.t for one in parts]),
        t_rest=np.concatenate([one.t_rest for one in parts]),
    )


def measured_effects(
    adata: AnnData,
    *,
    genes: Sequence[str],
    context: str | None,
    split: str | None,
    sides: Sequence[str],
    response: str = EXPRESSION,
) -> Truth:
    """Average the cells (or the rows of a table of effects) of the sides asked for; without a split, all.

    Raises
    ------
    ValueError
        There are no control cells on those sides.
    """
    part = _part(adata, genes, split, sides)
    if response == EFFECT:
        found = read_effects(part, context=context)
        delta = np.where(found.weight > 0, found.delta, np.nan).astype(np.float32)
        return Truth(found.rows, delta, delta, found.n, delta, delta)
    rows, group = group_rows(part, context=context)
    truth, n_unmatched = _profiles(part, rows, group)
    warn_of_unmatched(n_unmatched, f"of the side {' and '.join(sides)!r}" if split else "of the measured effects")
    return truth


def measured_halves(
    adata: AnnData, *, genes: Sequence[str], context: str | None, split: str | None, sides: Sequence[str], seed: int
) -> tuple[Truth, Truth]:
    """Divide the cells of every condition, and the controls, at random in two: the experiment and its replicate.

    Where controls are matched, the cells of each group are divided, so that each half has controls of the group.

    Raises
    ------
    ValueError
        There are no control cells on those sides.
    """
    part = _part(adata, genes, split, sides)
    rows, group = group_rows(part, context=context)
    half = _halves(group, len(rows), control_groups(part), np.random.default_rng(seed))
    one, other = (_profiles(part, rows, np.where(half == number, group, -1))[0] for number in (0, 1))
    return one, other


def _halves(
    group: NDArray[np.int64], n_rows: int, matched: NDArray[np.int64] | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return (cells,): 0 or 1, half of each row at random, and of each control group in it."""
    half = np.zeros(len(group), np.int64)
    for number in range(n_rows):
        cells = rng.permutation(np.flatnonzero(group == number))
        if matched is None:
            half[cells[len(cells) // 2 :]] = 1
        else:
            half[cells[np.argsort(matched[cells], kind="stable")][::2]] = 1
    return half


def measured_sides(
    adata: AnnData, *, genes: Sequence[str], context: str | None, split: str, response: str, seed: int = 0
) -> tuple[Truth, tuple[Truth, Truth] | None]:
    """Return the measured effects of every side, each against its own controls, and their halves; the test first.

    A condition on several sides, as where cells were divided at random, is judged on the test side. Halves are None for
    a table of effects.

    Raises
    ------
    ValueError
        No side has control cells.
    """
    found: list[tuple[Truth, ...]] = []
    for side in (_keys.TEST, _keys.VAL, _keys.TRAIN):
        on_side = adata.obs[split] == side
        options: dict[str, Any] = {"genes": genes, "context": context, "split": split, "sides": [side]}
        if response == EFFECT and on_side.any():
            found.append((measured_effects(adata, response=response, **options).named(side),))
        elif (on_side & (adata.obs[_keys.PERTURBATION] == _keys.CONTROL)).any():
            whole = measured_effects(adata, **options)
            found.append(tuple(one.named(side) for one in (whole, *measured_halves(adata, seed=seed, **options))))
        elif on_side.any():
            warnings.warn(f"the side {side!r} has no control cells and is not scored.", UserWarning, stacklevel=3)
    if not found:
        msg = "expected control cells on at least one side of the split; found none. Run `spm.pp.split_conditions`."
        raise ValueError(msg)
    whole, *halves = (stacked(parts) for parts in zip(*found))
    first = np.flatnonzero(~whole.rows[["label", "context"]].duplicated().to_numpy())
    return whole.take(first), (halves[0].take(first), halves[1].take(first)) if halves else None


def _part(adata: AnnData, genes: Sequence[str], split: str | None, sides: Sequence[str]) -> AnnData:
    part = adata[:, list(genes)]
    return part if split is None else part[part.obs[split].isin(list(sides)).to_numpy()]


def _profiles(part: AnnData, rows: pd.DataFrame, group: NDArray[np.int64]) -> tuple[Truth, int]:
    """Return measured effects, and how many rows have cells without control cells of their group."""
    control_rows(rows)
    profiles = effect_profiles(part.X, rows, group, control_groups(part))
    treated = (rows["label"] != _keys.CONTROL).to_numpy()
    family = np.where(treated, pd.factorize(rows["context"])[0], -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = profiles.delta / profiles.se
    if profiles.is_matched:
        t_rest = contrasts(profiles.delta, profiles.own_se, profiles.n_cells, family)
    else:
        t_rest = against_rest(part.X, group, family)
    strengths = (_or_effect(one[treated], profiles.delta[treated]) for one in (t, t_rest))
    mean, delta, n_cells = (one[treated] for one in (profiles.mean, profiles.delta, profiles.n_cells))
    return Truth(rows[treated], mean, delta, n_cells, *strengths), profiles.n_unmatched


def _or_effect(t: NDArray[np.floating], delta: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return t, 0 where a gene does not vary, and the effect itself in rows of too few cells to know an error."""
    known = np.isfinite(t)
    return np.where(known.any(1, keepdims=True), np.where(known, t, 0), delta).astype(np.float32)
