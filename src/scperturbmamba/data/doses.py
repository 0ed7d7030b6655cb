"""The doses of a screen: how high those of each drug go, and in which unit they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.screen_units import screen_units


@dataclass(frozen=True)
class Doses:
    """What is known of doses before any effect is measured.

    Attributes
    ----------
    reference
        Highest dose of every drug in the screen, on whichever side.
    units
        Unit of the doses of every drug of which it is known.
    """

    reference: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, adata: AnnData) -> Self:
        """Read the labels."""
        found: dict[str, float] = {}
        for label in adata.obs[_keys.PERTURBATION].dropna().unique():
            for part in Condition.parse(str(label)).parts:
                if part.dose is not None:
                    found[part.name] = max(part.dose, found.get(part.name, 0.0))
        return cls(found, screen_units(adata))
