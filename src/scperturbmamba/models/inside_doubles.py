"""What a gene does that was never perturbed alone, but beside genes that were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Part
from scperturbmamba.models.part_effects import PartEffects, parts_of_state, parts_state, training_rows
from scperturbmamba.models.shrinkage import Prior, Rows


@dataclass(frozen=True)
class InsideDoubles:
    """Measured combinations less the effects of all their other parts.

    Attributes
    ----------
    estimate, kept
        For each part: (genes,) what is left, and how far it is to be believed, from 0 to 1, given its noise.
    """

    estimate: dict[Part, Rows]
    kept: dict[Part, Rows]

    @classmethod
    def fit(cls, data: Bundle, seen: PartEffects, noise: Rows, context: int) -> Self:
        """Read the training combinations in which one part alone was never seen alone.

        The noise of the combination and of the other parts is taken against the variance of single effects; an
        interaction counts as signal, so that this holds for genes whose effects add up.
        """
        rows = training_rows(data, context)
        rows = rows[(data.context[rows] == context) & np.isfinite(noise[rows]).all(1)]
        single = [int(row) for row in rows if len(data.conditions[row].parts) == 1]
        if len(single) < 3:
            return cls({}, {})
        prior = Prior.of(data.delta[single].astype(np.float64), noise[single])
        alone = {data.conditions[row].parts[0]: noise[row] for row in single}
        found: dict[Part, list[tuple[Rows, Rows]]] = {}
        for row in rows:
            parts = data.conditions[row].parts
            new = [part for part in parts if part not in alone]
            if len(parts) > 1 and len(new) == 1:
                others = [part for part in parts if part in alone]
                rest = data.delta[row] - np.sum([seen.alone[part] for part in others], axis=0)
                found.setdefault(new[0], []).append(
                    (rest, noise[row] + np.sum([alone[part] for part in others], axis=0))
                )
        estimate = {part: np.mean([rest for rest, _ in some], axis=0) for part, some in found.items()}
        spread = {part: np.mean([one for _, one in some], axis=0) / len(some) for part, some in found.items()}
        kept = {
            part: np.divide(
                prior.variance, prior.variance + one, out=np.zeros_like(one), where=prior.variance + one > 0
            )
            for part, one in spread.items()
        }
        return cls(estimate, kept)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        arrays = {
            name: np.array(list(found.values()), np.float32)
            for name, found in (("estimate", self.estimate), ("kept", self.kept))
            if found
        }
        return {"parts": parts_state(self.estimate)}, arrays

    @classmethod
    def from_state(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        parts = parts_of_state(words["parts"])
        found = ({part: arrays[name][row] for row, part in enumerate(parts)} for name in ("estimate", "kept"))
        return cls(*found)

    def correct(self, effect: NDArray[np.floating], part: Part) -> None:
        """Draw an expected effect (genes,) to what is left of the combinations, in place, as far as it is believed."""
        if part in self.estimate:
            effect += self.kept[part] * (self.estimate[part] - effect)
