"""What the structure of a drug tells: canonical SMILES, Morgan fingerprints and physico-chemical descriptors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from scperturbmamba._checks import optional_import
from scperturbmamba.features.tables import with_known

if TYPE_CHECKING:
    from rdkit.Chem import Mol

RADIUS: Final = 2
N_BITS: Final = 1024

# name, function of rdkit, whether on a log(1 + x) scale; middle and width, round numbers over thirty familiar drugs
DESCRIPTORS: Final = (
    ("log_weight", "CalcExactMolWt", True, 5.8, 0.4),  # of the most common isotopes, daltons
    ("log_heavy_atoms", "CalcNumHeavyAtoms", True, 3.2, 0.4),
    ("logp", "CalcCrippenDescriptors", False, 2.5, 2.0),  # octanol over water, after Wildman and Crippen
    ("log_polar_surface", "CalcTPSA", True, 4.2, 0.6),  # square angstrom
    ("log_donors", "CalcNumHBD", True, 1.0, 0.5),  # of hydrogen bonds
    ("log_acceptors", "CalcNumHBA", True, 1.6, 0.5),
    ("log_rotatable_bonds", "CalcNumRotatableBonds", True, 1.5, 0.7),
    ("rings", "CalcNumRings", False, 2.7, 1.3),
    ("aromatic_rings", "CalcNumAromaticRings", False, 2.0, 1.2),
    ("sp3", "CalcFractionCSP3", False, 0.35, 0.2),  # share of the carbons
    ("log_stereocentres", "CalcNumAtomStereoCenters", True, 0.5, 0.8),
    ("charge", "GetFormalCharge", False, 0.0, 0.5),
)


@dataclass(frozen=True)
class Structures:
    """The molecules of drugs.

    Attributes
    ----------
    smiles
        Name → canonical SMILES; of a salt or another mixture that of its largest part.
    mixtures
        Name → SMILES as given, where it has several parts.
    invalid
        Name → SMILES as given, where it cannot be read.
    """

    smiles: dict[str, str]
    mixtures: dict[str, str]
    invalid: dict[str, str]


def read_structures(given: Mapping[str, str]) -> Structures:
    """Read the SMILES of drugs; what cannot be read is listed, never dropped.

    Raises
    ------
    ImportError
        rdkit is not installed.
    """
    found = {name: canonical_smiles(text) for name, text in given.items()}
    return Structures(
        smiles={name: text for name, text in found.items() if text},
        mixtures={name: given[name] for name, text in found.items() if text and "." in given[name]},
        invalid={name: given[name] for name, text in found.items() if not text},
    )


def canonical_smiles(text: str) -> str:
    """Return the one spelling of a molecule, of a mixture that of its largest part; empty where it cannot be read.

    The largest part has the most heavy atoms, then the most weight. Its charge and its stereochemistry stay as given.
    """
    optional_import("rdkit", extra="chem", purpose="reading SMILES")
    from rdkit import Chem

    text = text.strip()
    molecule = _molecule(text) if text and not any(letter.isspace() for letter in text) else None
    if molecule is None:
        return ""
    parts = Chem.GetMolFrags(molecule, asMols=True)
    best = max(parts, key=_size) if parts else None
    again = _molecule(Chem.MolToSmiles(best)) if best is not None else None
    return Chem.MolToSmiles(again) if again is not None else ""


def morgan_table(
    names: Sequence[str], smiles: Mapping[str, str], *, radius: int = RADIUS, n_bits: int = N_BITS
) -> pd.DataFrame:
    """Return drugs × (bits, ``known``), float32: how often each neighbourhood of atoms occurs, folded to ``n_bits``.

    Mirror images have the same row. A drug without a structure has a zero row.

    References
    ----------
    Rogers and Hahn, J. Chem. Inf. Model. 50, 742 (2010).
    """
    optional_import("rdkit", extra="chem", purpose="a fingerprint of a drug")
    from rdkit.Chem import rdFingerprintGenerator

    maker = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bits)
    columns = [f"bit{number}" for number in range(n_bits)]
    return _table(names, smiles, columns, maker.GetCountFingerprintAsNumPy)


def descriptor_table(names: Sequence[str], smiles: Mapping[str, str]) -> pd.DataFrame:
    """Return drugs × (:data:`DESCRIPTORS`, ``known``), float32, each less its middle and over its width.

    Middle and width are constants, so that the numbers of a drug do not depend on the drugs beside it and one that is
    described after a training fits the others.
    """
    optional_import("rdkit", extra="chem", purpose="descriptors of a drug")
    return _table(names, smiles, [name for name, *_ in DESCRIPTORS], _descriptors)


def _descriptors(molecule: Mol) -> list[float]:
    from rdkit import Chem
    from rdkit.Chem import rdMolDescriptors

    values = []
    for _, function, is_log, middle, width in DESCRIPTORS:
        found = (getattr(rdMolDescriptors, function, None) or getattr(Chem, function))(molecule)
        value = float(found[0] if isinstance(found, tuple) else found)
        values.append(((np.log1p(value) if is_log else value) - middle) / width)
    return values


def _table(
    names: Sequence[str], smiles: Mapping[str, str], columns: Sequence[str], describe: Callable[[Mol], Sequence[float]]
) -> pd.DataFrame:
    """Return what a function says of every molecule, each different one described once; the SMILES are canonical."""
    different = list(dict.fromkeys(smiles[name] for name in names if smiles.get(name)))
    molecules = [one for one in map(_molecule, different) if one is not None]
    values = np.array([describe(one) for one in molecules], np.float32).reshape(-1, len(columns))
    place = {text: row for row, text in enumerate(different)}
    return with_known(names, values, columns, np.array([place.get(smiles.get(name, ""), -1) for name in names], int))


def _molecule(text: str) -> Mol | None:
    """Return the molecule, or None where rdkit cannot read it, which it would also print."""
    from rdkit import Chem
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        return Chem.MolFromSmiles(text)


def _size(molecule: Mol) -> tuple[int, float, str]:
    from rdkit import Chem
    from rdkit.Chem import rdMolDescriptors

    return molecule.GetNumHeavyAtoms(), rdMolDescriptors.CalcExactMolWt(molecule), Chem.MolToSmiles(molecule)
