"""What a split holds out, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_column, check_key
from scperturbmamba.data.profiles import NO_CONTEXT
from scperturbmamba.data.splits import SIDES
from scperturbmamba.data.words import words_of

_BY_CONTEXT = frozenset({"context", "pair"})


@dataclass(frozen=True)
class HeldOut:
    """Labels and sides of the cells of a screen.

    Attributes
    ----------
    label, side, level
        (cells,), words: canonical label, ``train``, ``val`` or ``test``, context; empty where a cell has none.
    scheme
        How ``spm.pp.split_conditions`` divided the conditions; empty where somebody else did.
    call
        What to type to split again.
    """

    label: NDArray[Any]
    side: NDArray[Any]
    level: NDArray[Any]
    scheme: str
    call: str

    @classmethod
    def read(cls, adata: AnnData, key: str, context: str | None) -> HeldOut:
        """Read labels, sides and contexts.

        Raises
        ------
        KeyError
            The labels, the split or the context are not there.
        ValueError
            A side has another name than train, val or test, or nothing is on the training or on the test side.
        """
        check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
        check_key(adata, "obs", key, made_by="spm.pp.split_conditions")
        params = _params(adata, key)
        scheme = str(params.get("scheme", "condition" if "test_size" in params else ""))
        if context is None and scheme in _BY_CONTEXT:
            context = params.get("context")
        if context is not None:
            check_column(adata, context, argument="context")
        label, side = (_words(adata.obs[name]) for name in (_keys.PERTURBATION, key))
        level = np.full(adata.n_obs, NO_CONTEXT, dtype=object) if context is None else _words(adata.obs[context])
        side[(label == "") | (level == "")] = ""
        _check_sides(side, label, key)
        return cls(label, side, level, scheme, _call(key, context))

    @cached_property
    def treated(self) -> NDArray[np.bool_]:
        """(cells,): the cell has a side and is no control."""
        return (self.side != "") & (self.label != _keys.CONTROL)

    @cached_property
    def control(self) -> NDArray[np.bool_]:
        """(cells,): the cell has a side and is a control."""
        return (self.side != "") & (self.label == _keys.CONTROL)

    @cached_property
    def test(self) -> NDArray[np.bool_]:
        """(cells,): the cell is on the test side."""
        return self.side == _keys.TEST

    @cached_property
    def train(self) -> NDArray[np.bool_]:
        """(cells,): the cell is on the training side."""
        return self.side == _keys.TRAIN

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """(cells,): the cell is on the training or the validation side."""
        return self.train | (self.side == _keys.VAL)

    @cached_property
    def names(self) -> list[str]:
        """The labels of the cells that have a side, the control included, sorted."""
        return sorted(set(self.label[self.side != ""]))

    @cached_property
    def group(self) -> NDArray[np.int64]:
        """(cells,): place of the label in ``names``, -1 where a cell has no side."""
        place = pd.Index(self.names).get_indexer(self.label)
        return np.where(self.side == "", -1, place).astype(np.int64)

    @cached_property
    def test_conditions(self) -> set[str]:
        """The treated conditions with cells on the test side."""
        return set(self.label[self.treated & self.test])


def _words(column: pd.Series) -> NDArray[Any]:
    return words_of(column).to_numpy(dtype=object, copy=True)


def _params(adata: AnnData, key: str) -> Mapping[str, Any]:
    record = adata.uns.get(key)
    params = record.get(_keys.PARAMS) if isinstance(record, Mapping) else None
    return params if isinstance(params, Mapping) else {}


def _call(key: str, context: str | None) -> str:
    more = "" if context is None else f', context="{context}"'
    more += "" if key == _keys.SPLIT else f', key_added="{key}"'
    return f"spm.pp.split_conditions(adata{more})"


def _check_sides(side: NDArray[Any], label: NDArray[Any], key: str) -> None:
    strange = sorted(set(side) - {*SIDES, ""})
    if strange:
        msg = (
            f"`obs[{key!r}]` must hold {list(SIDES)}; found {strange[:5]}. Rename them, such as "
            f'`adata.obs["{key}"] = adata.obs["{key}"].replace({{{strange[0]!r}: "test"}})`.'
        )
        raise ValueError(msg)
    treated = sorted(set(side[label != _keys.CONTROL]) - {""})
    if not {_keys.TRAIN, _keys.TEST} <= set(treated):
        msg = (
            f"expected treated cells on the sides train and test of `obs[{key!r}]`; found {treated or 'none'}. "
            f"Run `{_call(key, None)}`."
        )
        raise ValueError(msg)
