"""The toy world's molecules: a scaffold per pathway, with two substituents; made of words, so rdkit is not needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# rings of the scaffolds are numbered from 1, those of the substituents from 7, so that none closes another
_SCAFFOLDS = (
    "c1nc(N{0})c2cc({1})ccc2n1",  # quinazoline
    "O=C1N({0})C(=O)c2cc({1})ccc12",  # phthalimide
    "c1({0})ccc(S(=O)(=O)N{1})cc1",  # benzenesulfonamide
    "O=C(NO)CC({0})Cc1ccc({1})cc1",  # hydroxamic acid
    "C1CC2C(C1)CCC1CC({0})CCC12{1}",  # steroid-like rings
    "c1({0})nc2ccccc2n1{1}",  # benzimidazole
    "C1CN({0})CCN1c1ncc({1})cn1",  # piperazinylpyrimidine
    "O=c1cc({0})oc2cc({1})ccc12",  # chromone
    "C1=C({0})CSC2N1C(=O)C2N{1}",  # beta-lactam
    "c1cc2c(s1)CCN({0})C2{1}",  # thienopyridine
    "O=C1CN=C({0})c2cc({1})ccc2N1",  # benzodiazepine
    "c1({0})cn(CC2OC(CO{1})CC2O)cn1",  # nucleoside-like
)
_SUBSTITUENTS = (
    "C", "CC", "C(C)C", "CCO", "CCN(C)C", "CC(F)(F)F", "c7ccccc7", "Cc7ccccc7", "C7CC7", "c7ccc(Cl)cc7", "CCOC",
    "C7CCCCC7", "c7ccncc7", "CCN7CCOCC7", "c7cccc(OC)c7", "CC(=O)N",
)  # fmt: skip
N_SCAFFOLDS = len(_SCAFFOLDS)
PER_SCAFFOLD = len(_SUBSTITUENTS) ** 2


def draw_smiles(scaffolds: Sequence[int], rng: np.random.Generator) -> list[str]:
    """Return a molecule per scaffold asked for; no two molecules of one scaffold have the same substituents."""
    left = {one: list(rng.permutation(PER_SCAFFOLD)) for one in sorted(set(scaffolds))}
    drawn = []
    for one in scaffolds:
        first, second = divmod(int(left[one].pop()), len(_SUBSTITUENTS))
        drawn.append(_SCAFFOLDS[one].format(_SUBSTITUENTS[first], _SUBSTITUENTS[second]))
    return drawn
