"""Labels of other tools in the spelling of a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import did_you_mean
from scperturbmamba.data.conditions import Condition, Part, part_names
from scperturbmamba.data.dialects import read_label
from scperturbmamba.data.screen_units import screen_units


def labels_of_screen(labels: Sequence[str], adata: AnnData) -> dict[str, str]:
    """Read labels in any dialect and return each with the canonical label that the screen has or would have.

    Raises
    ------
    ValueError
        A label cannot be read, or names something that the screen neither perturbs nor measures.
    """
    own = [Condition.parse(str(label)) for label in adata.obs[_keys.PERTURBATION].dropna().unique()]
    several = {part.name for condition in own for part in condition.parts if part.kind}
    known = frozenset(part_names(own)) | frozenset(map(str, adata.var_names))
    units = screen_units(adata)
    read = {label: read_label(label, known).in_units(units) for label in labels}
    found = {label: Condition(tuple(_as_shown(part, several) for part in one.parts)) for label, one in read.items()}
    strange = [label for label, one in found.items() if not all(_is_known(part, known, several) for part in one.parts)]
    if strange:
        msg = (
            f"{len(strange)} labels name nothing that `adata` perturbs or measures: {strange[:5]}."
            f"{did_you_mean(strange[0], sorted({one.label for one in own}))} Correct them, or leave them out."
        )
        raise ValueError(msg)
    return {label: condition.label for label, condition in found.items()}


def _as_shown(part: Part, several: set[str]) -> Part:
    """Drop the kind, unless the screen shows it because it holds the name under several."""
    return part if part.name in several else replace(part, kind="")


def _is_known(part: Part, known: frozenset[str], several: set[str]) -> bool:
    return part.name in known and (bool(part.kind) or part.name not in several)
