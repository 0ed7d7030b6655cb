"""The human genome in two facts: which chromosomes there are, and how long each is in GRCh38."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

CHROMOSOMES: Final = (*(str(number) for number in range(1, 23)), "X", "Y")
UNKNOWN: Final = len(CHROMOSOMES)  # code of a gene whose place is not known, or off these chromosomes

# bases of the primary assembly, in the order of CHROMOSOMES
LENGTHS: Final = np.array(
    [
        248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717, 133797422,
        135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616, 64444167,
        46709983, 50818468, 156040895, 57227415,
    ],
    dtype=np.int64,
)  # fmt: skip

_CODES = {name: code for code, name in enumerate(CHROMOSOMES)}
_PREFIX = re.compile(r"^(chromosome|chrom|chr)[_ ]?", re.IGNORECASE)


def chromosome_codes(names: Iterable[object]) -> NDArray[np.int64]:
    """Return 0–21 for the autosomes, 22 for X, 23 for Y, 24 for anything else (``MT``, a scaffold, NaN).

    Examples
    --------
    >>> from scperturbmamba.features.genome import chromosome_codes
    >>> chromosome_codes(["chr1", "22", "X", "chrM"]).tolist()
    [0, 21, 22, 24]
    """
    return np.array([_code(name) for name in names], dtype=np.int64)


def _code(name: object) -> int:
    text = _PREFIX.sub("", str(name).strip()).upper()
    return _CODES.get(text.removesuffix(".0").lstrip("0"), UNKNOWN)
