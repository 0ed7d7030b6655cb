"""The kernel of a response surface: how alike two perturbations are expected to be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from scperturbmamba.data.kinds import direction
from scperturbmamba.models.gate import Vector
from scperturbmamba.models.kernels import Rows
from scperturbmamba.models.surface.points import Points

_HALVES = 15  # doses of half effect that stand for their distribution
_BEND_REACH = float(np.log(3.0))  # distance in log dose over which deviations from the common form are alike
_TINY = 1e-30
_FLATTEST, _STEEPEST = 0.5, 3.0  # slopes of a Hill function


@dataclass(frozen=True)
class Shape:
    """Settings of the kernel, which is a product over dose and context, and a sum over what parts share.

    An effect is a Hill function of the dose, ``u**slope / (u**slope + half**slope)``, times what the part does; the
    dose of half effect differs from gene to gene and drug to drug, log-normally. It is 0 at dose 0.

    Attributes
    ----------
    half, spread, slope
        Median dose of half effect, as a share of the reference dose; standard deviation of its log; steepness.
    bend
        How far the response of one drug to the dose leaves that form, smoothly, with doses threefold apart alike.
    own_context, reach
        Share of an effect that is a context's own; distance in log(1 + number) over which contexts named by numbers,
        such as hours, grow apart.
    kinds
        Likeness of two kinds of perturbation of one gene, as loss of function and gain: the sign is turned.
    shares
        Of the variance: what all perturbations do, what one name does, then what the features of each source tell.
    """

    half: float = 0.5
    spread: float = 1.0
    slope: float = 1.5
    bend: float = 0.0
    own_context: float = 0.3
    reach: float = 1.5
    kinds: float = 0.5
    shares: tuple[float, ...] = (0.25, 0.75)
    n_settings: ClassVar[int] = 7

    @classmethod
    def of_numbers(cls, numbers: Vector) -> Self:
        """Return the shape of numbers without bounds: seven settings, then one per share but the second.

        The slope has bounds all the same: three doses of a drug cannot tell a step from a steep rise.
        """
        half, spread, reach = np.exp(numbers[[0, 1, 5]])
        steep, bend, own, kinds = 1 / (1 + np.exp(-numbers[[2, 3, 4, 6]]))
        slope = _FLATTEST + (_STEEPEST - _FLATTEST) * steep
        weights = np.exp(np.array([numbers[7], 0.0, *numbers[8:]]))
        return cls(half, spread, slope, bend, own, reach, kinds, tuple(map(float, weights / weights.sum())))

    @staticmethod
    def first_numbers(n_sources: int) -> Vector:
        """Return the numbers to start from, which are also what is expected of them."""
        return np.array([np.log(0.5), 0.0, -0.4, -1.5, -0.8, np.log(1.5), 0.0, -1.0, *[-1.0] * n_sources])

    def without_sources(self) -> Shape:
        """Return the shape that hears none."""
        total = sum(self.shares[:2])
        return replace(self, shares=(*(share / total for share in self.shares[:2]), *[0.0] * (len(self.shares) - 2)))

    def gate(self, dose: Rows) -> Rows:
        """Return the Hill function (points × halves); 0 at dose 0, and never falling with the dose."""
        at = self.half * np.exp(self.spread * _quantiles())
        power = np.asarray(dose, np.float64)[:, None] ** self.slope
        return np.asarray(power / (power + at**self.slope) / np.sqrt(len(at)), np.float64)

    def between(self, one: Points, other: Points, *, only_shared: bool = False) -> Rows:
        """Return the kernel (one × other); of what all perturbations do alone, where that is asked for."""
        around = (self.gate(one.dose) @ self.gate(other.dose).T) * self._contexts(one, other)
        around = around * np.outer(one.gain, other.gain)
        if only_shared:
            return around * self.shares[0]
        same = equal(one.names, other.names) * self._kinds(one, other)
        inside = self.shares[0] + self.shares[1] * same * self._bends(one, other)
        for share, left, right in zip(self.shares[2:], one.vectors, other.vectors):
            inside = inside + share * (left @ right.T) * self._kinds(one, other)
        return np.asarray(around * inside, np.float64)

    def variance(self, points: Points) -> Vector:
        """Return the kernel of every point with itself."""
        told = sum(share * np.square(one).sum(1) for share, one in zip(self.shares[2:], points.vectors))
        return np.asarray(
            np.square(points.gain) * np.square(self.gate(points.dose)).sum(1) * (sum(self.shares[:2]) + told),
            np.float64,
        )

    def _bends(self, one: Points, other: Points) -> Rows:
        apart = np.log(np.maximum(one.dose, _TINY))[:, None] - np.log(np.maximum(other.dose, _TINY))
        return np.asarray(1 - self.bend + self.bend * np.exp(-np.square(apart / _BEND_REACH) / 2), np.float64)

    def _contexts(self, one: Points, other: Points) -> Rows:
        same = one.context[:, None] == other.context
        apart = np.log1p(one.place)[:, None] - np.log1p(other.place)
        common = np.where(np.isfinite(apart), np.exp(-np.square(apart / self.reach) / 2), 1.0)
        return np.asarray(self.own_context * same + (1 - self.own_context) * common, np.float64)

    def _kinds(self, one: Points, other: Points) -> Rows:
        different = ~equal(one.kinds, other.kinds)
        if not different.any():
            return np.ones(different.shape)
        signs = (np.array([direction(kind) for kind in some.kinds]) for some in (one, other))
        turned = np.outer(*signs) < 0
        return np.where(different, np.where(turned, -self.kinds, self.kinds), 1.0)

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {**self.__dict__, "shares": list(self.shares)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Make it again."""
        return cls(**{**state, "shares": tuple(state["shares"])})


def equal(one: NDArray[np.str_], other: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return which words are the same (one × other); of many, numbers are compared faster."""
    place = np.unique(np.concatenate([one, other]), return_inverse=True)[1]
    return np.asarray(place[: len(one), None] == place[len(one) :], bool)


@cache
def _quantiles() -> Vector:
    return np.asarray(norm.ppf((np.arange(_HALVES) + 0.5) / _HALVES), np.float64)
