"""Tell each guide's target from a map, a table, a regular expression or a function."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import pandas as pd

from scperturbmamba._checks import as_names
from scperturbmamba._keys import CONTROL
from scperturbmamba.data.control_names import fold, is_control_name

GuideTargets: TypeAlias = Mapping[str, str] | pd.Series | pd.DataFrame | str | Callable[[str], str | None]


def targets_of(guides: Sequence[str], rule: GuideTargets, control: str | Sequence[str] | None) -> list[str]:
    """Return the target of each guide, ``"control"`` for the non-targeting ones.

    Raises
    ------
    ValueError
        Guides have no target; the message names them.
    """
    find = _as_function(rule)
    extra = {fold(name) for name in as_names(control or [])}
    found = [CONTROL if fold(guide) in extra else find(guide) for guide in guides]
    lost = [guide for guide, target in zip(guides, found) if _is_missing(target)]
    if lost:
        msg = (
            f"every guide needs a target; {len(lost)} of {len(guides)} have none, such as {lost[:5]}. "
            "Complete `guide_targets`, or name the non-targeting guides in `control=`."
        )
        raise ValueError(msg)
    names = [str(target).strip() for target in found]
    return [CONTROL if fold(name) in extra or is_control_name(name) else name for name in names]


def _is_missing(target: object) -> bool:
    return target is None or target != target or not str(target).strip()


def _as_function(rule: GuideTargets) -> Callable[[str], str | None]:
    if isinstance(rule, str):
        return _from_pattern(rule)
    if isinstance(rule, pd.DataFrame):
        return _from_map(_from_table(rule))
    if isinstance(rule, pd.Series):
        return _from_map(rule.to_dict())
    if isinstance(rule, Mapping):
        return _from_map(rule)
    if callable(rule):
        return rule
    msg = (
        "`guide_targets` must be a map, a table, a regular expression with one group or a function; "
        f"found {type(rule).__name__}."
    )
    raise TypeError(msg)


def _from_pattern(rule: str) -> Callable[[str], str | None]:
    try:
        pattern = re.compile(rule)
    except re.error as error:
        msg = f"`guide_targets={rule!r}` is no regular expression ({error}). Write one such as r'^(.+)_g\\d+$'."
        raise ValueError(msg) from error
    if pattern.groups != 1:
        msg = (
            f"`guide_targets={rule!r}` must have one group, the target; found {pattern.groups}. "
            "Write (?:...) for a group that is not the target."
        )
        raise ValueError(msg)

    def find(guide: str) -> str | None:
        match = pattern.search(guide)
        return match.group(1) if match else None

    return find


def _from_map(targets: Mapping[str, str]) -> Callable[[str], str | None]:
    known = {str(guide): target for guide, target in targets.items()}
    return known.get


def _from_table(table: pd.DataFrame) -> dict[str, str]:
    """Read a table with the columns ``guide`` and ``target``, or with guides as index and one column."""
    if "target" in table:
        guides = table["guide"] if "guide" in table else table.index
        return dict(zip(map(str, guides), table["target"]))
    if table.shape[1] == 1:
        return dict(zip(map(str, table.index), table.iloc[:, 0]))
    msg = f"`guide_targets` as a table needs the columns 'guide' and 'target'; found {list(table.columns)}."
    raise ValueError(msg)
