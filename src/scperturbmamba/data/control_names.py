"""The words people use for a control, and for a cell nobody labelled."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

_CONTROLS = frozenset(
    {
        "control", "controls", "ctrl", "ctl", "nt", "ntc", "ntcontrol", "nontargeting", "nontargetingcontrol",
        "nontarget", "notargeting", "nontargeted", "scrambled", "scramble", "scr", "safetargeting", "safeharbor",
        "safecutter", "unperturbed", "untreated", "wildtype", "wt", "vehicle", "dmso", "dmsotf", "pbs", "mock",
        "negctrl", "negativecontrol", "negcontrol", "neg", "noperturbation", "nopert", "intergenic", "sgctrl", "sgnt",
    }
)  # fmt: skip
_UNLABELLED = frozenset({"", "nan", "none", "na", "null", "unassigned", "unlabelled", "unlabeled", "unknown", "*",
                         "negative", "noguide", "nogrna", "nosgrna", "nocall"})  # fmt: skip
_MULTIPLETS = frozenset({"multiplet", "multiplets", "multiple", "doublet", "ambiguous"})
_NUMBERED = re.compile(r"[_\-. ]*(?:g|sg|guide|grna|sgrna)?[_\-. ]*#?\d+$", re.IGNORECASE)
_TYPO_LIKENESS = 0.8


def fold(name: str) -> str:
    """Return a name in lower case without spaces, hyphens, dots and underscores."""
    return re.sub(r"[\s_\-.]+", "", str(name)).casefold()


def is_control_name(name: str) -> bool:
    """Tell whether a name is one of the usual words for a control, numbered or not (``NegCtrl0``, ``NT_5``)."""
    text = str(name).strip()
    return fold(text) in _CONTROLS or fold(_NUMBERED.sub("", text)) in _CONTROLS


def is_unlabelled_name(name: str) -> bool:
    """Tell whether a name says that the cell has no label."""
    text = str(name).strip()
    return text in _UNLABELLED or fold(text) in _UNLABELLED


def is_multiplet_name(name: str) -> bool:
    """Tell whether a name says that the cell is a multiplet."""
    return fold(name) in _MULTIPLETS


def resembles_control(name: str) -> bool:
    """Tell whether a name that is no control word looks like a misspelt one (``contrl``, ``non-targetting``)."""
    text = fold(name)
    return len(text) > 4 and any(
        SequenceMatcher(None, text, word).ratio() >= _TYPO_LIKENESS for word in _CONTROLS if len(word) > 4
    )
