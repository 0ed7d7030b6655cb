"""What a perturbation does to the perturbed gene itself, learned from the genes that were measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Part
from scperturbmamba.data.kinds import direction

_SEEN = 0.1  # counts per 10,000 in control below which a change of the target cannot be measured
_FEWEST = 3  # targets that must tell
_LEAST = 0.1  # ratio below which it is not turned upside down: no activation is expected beyond tenfold


@dataclass(frozen=True)
class OwnChange:
    """The usual ratio of a target's expression after and before, by the kind of the perturbation.

    Attributes
    ----------
    place
        Column of each measured gene.
    control
        (contexts × genes): log1p expression of the control.
    ratio
        Median ratio by kind, of expression in counts per 10,000.
    """

    place: dict[str, int]
    control: NDArray[np.float32]
    ratio: dict[str, float]

    @classmethod
    def fit(cls, data: Bundle) -> Self:
        """Take the median over training conditions of one measured gene that the control expresses."""
        place = {gene: column for column, gene in enumerate(data.genes)}
        found: dict[str, list[float]] = {}
        for row in data.training():
            parts = data.conditions[row].parts
            if len(parts) != 1 or parts[0].name not in place or not data.control.any():
                continue
            column = place[parts[0].name]
            before = np.expm1(data.control[data.context[row], column])
            if before > _SEEN:
                after = np.expm1(max(data.control[data.context[row], column] + data.delta[row, column], 0))
                found.setdefault(parts[0].kind, []).append(float(after / before))
        ratio = {kind: float(np.median(some)) for kind, some in found.items() if len(some) >= _FEWEST}
        return cls(place, data.control, ratio)

    def _ratio(self, kind: str) -> float | None:
        """Return the ratio of a kind; if it was not measured that of another, upside down if that works against it."""
        if kind in self.ratio or not direction(kind):
            return self.ratio.get(kind)
        like = [other for other in sorted(self.ratio) if direction(other) == direction(kind)]
        against = [other for other in sorted(self.ratio) if direction(other) == -direction(kind)]
        if like:
            return self.ratio[like[0]]
        return 1 / max(self.ratio[against[0]], _LEAST) if against else None

    def set(self, effect: NDArray[np.floating], part: Part, context: int) -> None:
        """Write the expected own change into an effect (genes,), in place, where it is known."""
        column, ratio = self.place.get(part.name), self._ratio(part.kind)
        if column is None or ratio is None:
            return
        before = np.expm1(float(self.control[context, column]))
        if before > _SEEN:
            effect[column] = np.log1p(ratio * before) - self.control[context, column]
