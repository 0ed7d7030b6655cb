"""The words people use for a control, and for a cell nobody labelled."""

from __future__ import annotations

import re
from difflib import get_close_matches

_CONTROLS = frozenset(
    {
        "control", "controls", "ctrl", "ctl", "nt", "ntc", "ntcontrol", "nontargeting", "nontargetingcontrol",
        "nontarget", "notarget", "notargeting", "nontargeted", "scrambled", "scramble", "scr", "safetargeting",
        "safeharbor", "safecutter", "unperturbed", "untreated", "wildtype", "wt", "vehicle", "dmso", "dmsotf", "pbs",
        "mock", "negctrl", "negativecontrol", "negcontrol", "neg", "noperturbation", "nopert", "intergenic", "sgctrl",
        "sgnt",
    }
)  # fmt: skip
_LONG_CONTROLS = sorted(word for word in _CONTROLS if len(word) > 4)
_UNLABELLED = frozenset({"", "nan", "none", "na", "null", "unassigned", "unlabelled", "unlabeled", "unknown", "*",
                         "negative", "noguide", "nogrna", "nosgrna", "nocall"})  # fmt: skip
_MULTIPLETS = frozenset({"multiplet", "multiplets", "multiple", "doublet", "ambiguous"})
_GENES = frozenset({"wt1", "scrg1"})  # genes that look like a numbered control
_NUMBER = re.compile(r"[_\-. ]*#?\d+$")
_GUIDE = re.compile(r"[_\-. ]*(?:g|sg|guide|grna|sgrna)$", re.IGNORECASE)
_TYPO_LIKENESS = 0.8


def fold(name: str) -> str:
    """Return a name in lower case without spaces, hyphens, dots and underscores."""
    return re.sub(r"[\s_\-.]+", "", str(name)).casefold()


def is_control_name(name: str) -> bool:
    """Tell whether a name is one of the usual words for a control, numbered or not (``NegCtrl0``, ``NT_5``)."""
    text = str(name).strip()
    word = _NUMBER.sub("", text)
    if fold(text) in _CONTROLS or word == text or text.casefold() in _GENES:
        return fold(text) in _CONTROLS
    return fold(word) in _CONTROLS or fold(_GUIDE.sub("", word)) in _CONTROLS


def is_unlabelled_name(name: str) -> bool:
    """Tell whether a name says that the cell has no label."""
    text = str(name).strip()
    return text in _UNLABELLED or fold(text) in _UNLABELLED


def is_multiplet_name(name: str) -> bool:
    """Tell whether a name says that the cell is a multiplet."""
    return fold(name) in _MULTIPLETS


def resembles_control(name: str) -> bool:
    """Tell whether a name looks like a misspelt control word (``contrl``, ``crtl``, ``non-targetting``)."""
    text = fold(name)
    if is_control_name(name) or len(text) < 4:
        return False
    swapped = any(sorted(text) == sorted(word) for word in _CONTROLS if len(word) == len(text))
    return swapped or bool(len(text) > 4 and get_close_matches(text, _LONG_CONTROLS, n=1, cutoff=_TYPO_LIKENESS))
