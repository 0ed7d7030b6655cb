"""What a check found, and the table of all checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

CLEAN: Final = "clean"
LEAK: Final = "leak"
WARNING: Final = "warning"
NOT_CHECKED: Final = "not checked"

_WORST_FIRST = (LEAK, WARNING, CLEAN, NOT_CHECKED)


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    verdict
        ``"clean"``, ``"leak"``, ``"warning"`` or ``"not checked"``.
    found
        In words, with numbers and examples.
    advice
        What to type; empty where nothing is to be done.
    """

    verdict: str
    found: str
    advice: str = ""


def merged(findings: Iterable[Finding]) -> Finding:
    """Return one finding of several: the worst verdict, all that was found, the worst first, and each advice once."""
    ranked = sorted(findings, key=lambda one: _WORST_FIRST.index(one.verdict))
    advice = dict.fromkeys(one.advice for one in ranked if one.advice)
    return Finding(ranked[0].verdict, "; ".join(one.found for one in ranked), "; ".join(advice))


def findings_table(findings: Mapping[str, Finding]) -> pd.DataFrame:
    """Return a row per check: ``check``, ``verdict``, ``found``, ``advice``."""
    rows = [(check, one.verdict, one.found, one.advice) for check, one in findings.items()]
    return pd.DataFrame(rows, columns=["check", "verdict", "found", "advice"])


def some(names: Iterable[object], n: int = 3) -> str:
    """Return the first few names, and how many more there are."""
    words = [str(name) for name in names]
    more = f" and {len(words) - n} more" if len(words) > n else ""
    return ", ".join(words[:n]) + more


def counted(n: int, noun: str) -> str:
    """Return a number and its noun in the singular or the plural."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
