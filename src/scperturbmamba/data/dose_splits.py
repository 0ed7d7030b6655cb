"""Hold out doses of drugs that are seen at other doses, and conditions in contexts of which both are seen elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import ceil
from types import MappingProxyType
from typing import Final

import numpy as np

from scperturbmamba._keys import TEST, TRAIN, VAL
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.splits import Shares, Sides

DOSES: Final = MappingProxyType({"middle": lambda n: (n - 1) // 2, "highest": lambda n: n - 1, "lowest": lambda n: 0})
MIDDLE: Final = "middle"
_FEWEST = 3

Pair = tuple[str, str]  # label and context


def by_dose(conditions: Sequence[Condition], shares: Shares, which: str, rng: np.random.Generator) -> Sides:
    """Hold out one dose of drugs with three or more, with every condition that contains it.

    The validation side holds a share of the other dosed parts, of drugs of which a dose is left.

    Raises
    ------
    ValueError
        No drug has three doses, or ``which`` is no place among them.
    """
    if which not in DOSES:
        msg = f"the scheme 'dose' holds out one of {list(DOSES)} of the doses of a drug; found held_out={which!r}."
        raise ValueError(msg)
    doses = _doses(conditions)
    several = [parts for parts in doses if len(parts) >= _FEWEST]
    if not several:
        most = max((len(parts) for parts in doses), default=0)
        msg = (
            f"the scheme 'dose' needs a drug with at least {_FEWEST} doses; found at most {most} of one. Read doses "
            "with `spm.pp.perturbation_labels(adata, column, dose=...)`, or take the scheme 'perturbation'."
        )
        raise ValueError(msg)
    drawn = rng.permutation(len(several))[: ceil(shares.test * len(several) - 1e-9)]
    test = {several[number][DOSES[which](len(several[number]))] for number in drawn}
    left = [one for one in conditions if not test & set(one.parts)]
    val = _validated(_doses(left), shares.val, rng)
    if not val:
        msg = "the scheme 'dose' found no dose to validate: every dose left is its drug's only one. Lower `test_size`."
        raise ValueError(msg)
    return {one: TEST if test & set(one.parts) else VAL if val & set(one.parts) else TRAIN for one in conditions}


def _validated(doses: Sequence[Sequence[Part]], share: float, rng: np.random.Generator) -> set[Part]:
    """Return a share of the dosed parts, rounded up, at most one of a drug and none that is a drug's only one."""
    several = [parts for parts in doses if len(parts) > 1]
    wanted = max(1, ceil(share * sum(map(len, doses)) - 1e-9))
    drawn = rng.permutation(len(several))[:wanted]
    return {several[number][rng.integers(len(several[number]))] for number in drawn}


def _doses(conditions: Sequence[Condition]) -> list[list[Part]]:
    """Return the different dosed parts of each drug, from the lowest dose to the highest."""
    found: dict[tuple[str, str], set[Part]] = {}
    for condition in conditions:
        for part in condition.parts:
            if part.dose is not None:
                found.setdefault((part.name, part.kind), set()).add(part)
    return [sorted(found[key]) for key in sorted(found)]


def by_pair(pairs: Sequence[Pair], shares: Shares, rng: np.random.Generator) -> dict[Pair, str]:
    """Hold out conditions in contexts; a condition stays seen in another context, a context with other conditions.

    Where the screen does not allow as many as asked for, fewer are held out.

    Raises
    ------
    ValueError
        Fewer than two pairs can be held out.
    """
    labels, levels = (Counter(pair[place] for pair in pairs) for place in (0, 1))
    n_test = max(1, ceil(shares.test * len(pairs) - 1e-9))
    n_held = n_test + max(1, ceil(shares.val * (len(pairs) - n_test) - 1e-9))
    held: list[Pair] = []
    for number in rng.permutation(len(pairs)):
        label, level = pairs[number]
        if len(held) < n_held and labels[label] > 1 and levels[level] > 1:
            held.append((label, level))
            labels[label] -= 1
            levels[level] -= 1
    if len(held) < 2:
        msg = (
            "the scheme 'pair' needs conditions that were measured in several contexts, and contexts with several "
            f"conditions; of {len(pairs)} pairs {len(held)} can be held out. Take the scheme 'perturbation'."
        )
        raise ValueError(msg)
    n_test = min(n_test, len(held) - 1)
    sides = dict.fromkeys(pairs, TRAIN)
    return {**sides, **dict.fromkeys(held[:n_test], TEST), **dict.fromkeys(held[n_test:], VAL)}
