"""What is held out when models of the inverse task are judged; never cells at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_column, check_whole
from scperturbmamba.data.words import words_of

DOUBLES: Final = "doubles"
_RANDOM = ("cell", "cells", "random")
_ALWAYS_SEEN = 0.5  # share of treated cells whose level holds one condition only: such a column names guides


@dataclass(frozen=True)
class Fold:
    """Which cells are trained on, and which are asked for.

    Attributes
    ----------
    name
        What is held out.
    train, test
        (cells,).
    """

    name: str
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]


def make_folds(adata: AnnData, hold_out: str, n_folds: int) -> list[Fold]:
    """Return the folds: all doubles at once, or the levels of a column in turn.

    Levels of a column that belong to one condition each, as guides do, are dealt out within each condition.

    Raises
    ------
    ValueError
        Random cells are asked for, or nothing could be held out.
    """
    labels = words_of(adata.obs[_keys.PERTURBATION])
    labelled = adata.obs[_keys.PERTURBATION].notna().to_numpy()
    if hold_out == DOUBLES:
        return [_doubles(labels, labelled)]
    _refuse_random(adata, hold_out)
    check_whole(n_folds, "n_folds")
    level = words_of(adata.obs[hold_out])
    labelled = labelled & adata.obs[hold_out].notna().to_numpy()
    number = _deal(level[labelled], labels[labelled], int(n_folds))
    code = np.full(adata.n_obs, -1)
    code[labelled] = number
    if len(np.unique(number)) < 2:
        msg = f"`obs[{hold_out!r}]` has one level; at least two are needed to hold one out."
        raise ValueError(msg)
    return [Fold(f"{hold_out} {one + 1}", (code >= 0) & (code != one), code == one) for one in np.unique(number)]


def _doubles(labels: pd.Series, labelled: NDArray[np.bool_]) -> Fold:
    is_double = labelled & labels.str.contains(r"(?<!\\)\+").to_numpy()
    if not is_double.any():
        msg = (
            f"`hold_out={DOUBLES!r}` needs combinations, such as 'MYC+TP53'; found none. Hold out guides, replicates "
            "or batches: the name of a column of `adata.obs`."
        )
        raise ValueError(msg)
    return Fold(DOUBLES, labelled & ~is_double, is_double)


def _refuse_random(adata: AnnData, hold_out: str) -> None:
    """Refuse cells at random, under whichever name."""
    random = hold_out in _RANDOM and hold_out not in adata.obs
    if not random:
        check_column(adata, hold_out, argument="hold_out")
        scheme = adata.uns.get(hold_out, {})
        params = scheme.get(_keys.PARAMS, {}) if hasattr(scheme, "get") else {}
        random = params.get("scheme") == "cell" or adata.obs[hold_out].nunique() > adata.n_obs / 2
    if random:
        msg = (
            f"`hold_out={hold_out!r}` would hold out cells at random, whose guides, batches and library were all seen: "
            "such numbers say nothing of new data. Name a column of `adata.obs` with guides, replicates or batches, or "
            f"say {DOUBLES!r}."
        )
        raise ValueError(msg)


def _deal(level: pd.Series, labels: pd.Series, n_folds: int) -> NDArray[np.int64]:
    """Return the fold of each cell."""
    table = pd.DataFrame({"level": level.to_numpy(), "label": labels.to_numpy()})
    treated = table[table["label"] != _keys.CONTROL]
    per_level = treated.groupby("level")["label"].nunique()
    nested = (treated["level"].map(per_level) == 1).mean() > _ALWAYS_SEEN
    if not nested:
        levels = sorted(table["level"].unique())
        place = {one: number % min(n_folds, len(levels)) for number, one in enumerate(levels)}
        return table["level"].map(place).to_numpy(dtype=np.int64)
    pairs = table.drop_duplicates().sort_values(["label", "level"])
    pairs["fold"] = pairs.groupby("label").cumcount() % n_folds
    return table.merge(pairs, on=["level", "label"], how="left")["fold"].to_numpy(dtype=np.int64)
