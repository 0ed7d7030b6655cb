"""The doses of a screen: how high those of each drug go, and in which unit they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition, Part
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

    @cached_property
    def logs(self) -> tuple[float, float]:
        """Mean and standard deviation of the log of the reference doses."""
        found = np.log([one for one in self.reference.values() if one > 0]) if self.reference else np.zeros(1)
        return float(np.mean(found)), float(np.std(found)) or 1.0

    def share(self, part: Part) -> float:
        """Return a dose as a share of the reference dose of its drug, 1 for a part without a dose.

        A drug that was never screened has the usual reference dose, the geometric mean.
        """
        if part.dose is None:
            return 1.0
        return part.dose / self.reference.get(part.name, float(np.exp(self.logs[0])))

    @classmethod
    def of(cls, adata: AnnData) -> Self:
        """Read the labels."""
        found: dict[str, float] = {}
        for label in adata.obs[_keys.PERTURBATION].dropna().unique():
            for part in Condition.parse(str(label)).parts:
                if part.dose is not None:
                    found[part.name] = max(part.dose, found.get(part.name, 0.0))
        return cls(found, screen_units(adata))
