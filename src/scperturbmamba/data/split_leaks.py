"""What both sides of a split share: conditions, parts of conditions, control cells."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.findings import CLEAN, LEAK, WARNING, Finding, counted, some
from scperturbmamba.data.held_out import HeldOut
from scperturbmamba.data.profiles import NO_CONTEXT

# schemes that hold out a single, not its combinations
_EACH_FOR_ITSELF = frozenset({"condition", "cell", "context", "pair"})
_BY_CELL = "cell"

_Unit = tuple[str, str]  # label and context


def shared_conditions(held: HeldOut) -> Finding:
    """Look for conditions with cells on the training or validation side and on the test side, in one context."""
    seen, test = (_units(held, side) for side in (held.seen, held.test))
    both = sorted(set(seen) & set(test))
    if not both:
        return Finding(CLEAN, f"none of {counted(len(test), 'held-out condition')} has training or validation cells")
    examples = some(f"{_name(one)} ({seen[one]} and {test[one]})" for one in both)
    found = (
        f"{len(both)} of {counted(len(test), 'held-out condition')} also have cells on the training or validation "
        f"side, such as {examples}"
    )
    if held.scheme == _BY_CELL:
        found += "; cells were split at random (scheme 'cell'), which is easy: every condition is known"
    return Finding(LEAK, found, f"hold out whole conditions: `{held.call}`")


def seen_parts(held: HeldOut) -> Finding:
    """Look for parts of held-out conditions in training conditions of the same context.

    A leak is a held-out single whose part is in a training combination: all other schemes of
    ``spm.pp.split_conditions`` rule it out, and of a split that somebody else made nothing says that it was meant. A
    warning is the same under the schemes ``"condition"``, ``"cell"``, ``"context"`` and ``"pair"``, a held-out
    combination with a part seen, which is the task of predicting combinations, and a gene or drug seen at another dose
    or of another kind. A condition that is itself in training is left to :func:`shared_conditions`.
    """
    train, test = (_units(held, side) for side in (held.train, held.test))
    parts: dict[tuple[Part, str], list[str]] = defaultdict(list)
    names: dict[_Unit, list[str]] = defaultdict(list)
    for label, level in sorted(train):
        for part in Condition.parse(label).parts:
            parts[part, level].append(label)
            names[part.name, level].append(label)
    singles, combinations, others = [], [], []
    asked = sorted(set(test) - set(train))
    for label, level in asked:
        condition = Condition.parse(label)
        carriers = [parts[part, level][0] for part in condition.parts if (part, level) in parts]
        alike = [names[name, level][0] for name in condition.names if (name, level) in names]
        if carriers and len(condition.parts) == 1:
            singles.append(f"{label} in {carriers[0]}")
        elif carriers:
            combinations.append(f"{label}: {some(carriers, 2)}")
        elif alike:
            others.append(f"{label}: {alike[0]}")
    return _parts_finding(held, len(asked), singles, combinations, others)


def _parts_finding(held: HeldOut, n: int, singles: list[str], combinations: list[str], others: list[str]) -> Finding:
    if not (singles or combinations or others):
        return Finding(CLEAN, f"no part of {counted(n, 'held-out condition')} occurs in a training condition")
    pieces = []
    if singles:
        pieces.append(f"{counted(len(singles), 'single')} in training combinations ({some(singles)})")
    if combinations:
        pieces.append(f"{counted(len(combinations), 'combination')} with a part in training ({some(combinations)})")
    if others:
        pieces.append(f"{len(others)} at another dose or of another kind ({some(others)})")
    found = f"of {counted(n, 'held-out condition')}: {', '.join(pieces)}"
    if singles and held.scheme not in _EACH_FOR_ITSELF:
        return Finding(LEAK, found, f"hold out the combinations of a held-out part as well: `{held.call}`")
    return Finding(WARNING, found, 'report them apart: `predicted.obs["support"]` says "parts seen"')


def shared_controls(held: HeldOut) -> Finding:
    """Look for contexts whose control cells are all on one side, so that truth and input share their noise."""
    rows, bad = [], []
    for level in sorted(set(held.level[held.treated & held.test])):
        here = held.control & (held.level == level)
        n_seen, n_test = int(np.sum(here & held.seen)), int(np.sum(here & held.test))
        rows.append((n_seen, n_test))
        if not (n_seen and n_test):
            where = "" if level == NO_CONTEXT else f"{level}: "
            bad.append(f"{where}{n_seen} for training and validation, {n_test} for the test")
    if not bad:
        n_seen, n_test = np.min(rows, axis=0)
        each = "" if len(rows) == 1 else "in each context at least "
        found = f"control cells are divided: {each}{n_seen} for training and validation, {n_test} for the test"
        return Finding(CLEAN, found)
    found = (
        f"control cells are on one side only ({some(bad)}), so that the measured effects of the test and the input "
        "share control noise: in Norman 2019 that alone lifts the mean baseline's pearson_delta from 0.12 to 0.39"
    )
    return Finding(LEAK, found, f"give each side control cells of its own: `{held.call}`")


def _units(held: HeldOut, side: np.ndarray) -> dict[_Unit, int]:
    """Return the number of treated cells of each label and context on a side."""
    n: dict[_Unit, int] = defaultdict(int)
    for unit in zip(held.label[side & held.treated], held.level[side & held.treated]):
        n[unit] += 1
    return dict(n)


def _name(unit: _Unit) -> str:
    label, level = unit
    return label if level == NO_CONTEXT else f"{label} in {level}"
