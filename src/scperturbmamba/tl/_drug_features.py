"""What is known of each drug before it is given: one table per source, for drugs of the screen and others."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_choice, check_in_memory, check_key, check_params, check_whole
from scperturbmamba.data.views import own
from scperturbmamba.features.chemistry import Structures, read_structures
from scperturbmamba.tl._drug_names import ScreenNames
from scperturbmamba.tl._drug_smiles import read_smiles
from scperturbmamba.tl._drug_sources import (
    FINGERPRINT,
    STRUCTURES,
    from_structures,
    from_table,
    known_names,
    record_of,
)
from scperturbmamba.tl._gene_sources import Made

_SHOWN = 20


def drug_features(
    adata: AnnData,
    sources: str | Sequence[str] = STRUCTURES,
    *,
    smiles: Any = None,
    files: Mapping[str, Any] | None = None,
    drugs: str | Sequence[str] | None = None,
    width: Mapping[str, int] | None = None,
) -> None:
    """Describe every drug by numbers that a model can use for drugs it never saw given.

    The drugs are the parts of the screen's conditions that are of kind drug or other or have a dose, those of
    ``drugs``, and, for each source, every name that its SMILES or its table hold, so that drugs that were never
    screened can be predicted later. A name of a table must be that of the label, without the dose; one that differs by
    case alone is taken where no other does. Features are looked up by name: a name of a measured gene, or of a gene
    perturbed alone, is a gene.

    Parameters
    ----------
    adata
        Cells or profiles with ``obs["perturbation"]``.
    sources
        What to compute. ``"fingerprint"``: how often each neighbourhood of atoms up to radius 2 occurs in the
        molecule (Morgan counts, without stereochemistry). ``"descriptors"``: weight, logP, polar surface and others,
        skewed ones on a log scale, each less a fixed middle and over a fixed width. Both need rdkit. Any other name
        is a key of ``files``.
    smiles
        Structures of the drugs: a column of ``obs``, a mapping of drug to SMILES, a Series or a table indexed by
        drug, or the path of a CSV or TSV. The default is the column of ``obs`` called ``smiles``,
        ``canonical_smiles`` or the like. Of a salt or another mixture the largest part is described.
    files
        Source → table of numbers per drug or other named condition (``"hypoxia"``): a DataFrame indexed by name, or
        the path of a CSV or TSV.
    drugs
        Names to describe beside those of the screen.
    width
        Numbers per drug; ``{"fingerprint": 1024}`` is the default.

    Returns
    -------
    None
        Writes, for each source:

        ``uns["drug_<source>"]``
            ``params``, ``provenance`` (sha256 of what defines the columns), ``drugs`` (names), ``columns`` (names) and
            ``values`` (drugs × columns, float32), whose last column ``known`` is 0 or 1; the row of a drug that is not
            known is zero.
        ``uns["drug_smiles"]``
            With ``"fingerprint"`` or ``"descriptors"``: ``drugs``, ``smiles`` (canonical; empty where there is none
            or it cannot be read) and ``given`` (as found).

        Drugs without a SMILES, and SMILES that cannot be read, are listed in a warning.

    Raises
    ------
    KeyError
        ``obs["perturbation"]`` is missing, or there are no SMILES.
    ValueError
        A source has no file, a drug has two structures or the name of a gene, or there is no drug.
    TypeError
        ``smiles`` is of another type.
    ImportError
        A structure is asked for without rdkit.

    References
    ----------
    Rogers and Hahn, Extended-connectivity fingerprints, J. Chem. Inf. Model. 50, 742 (2010).

    Examples
    --------
    >>> import pandas as pd
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy_drugs(n_genes=30, n_drugs=6, cells_per_condition=5)
    >>> spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    >>> names = sorted(adata.uns["toy"]["ec50"])
    >>> spm.tl.drug_features(adata, "target", files={"target": pd.DataFrame({"weight": range(6)}, index=names)})
    >>> adata.uns["drug_target"]["values"].shape
    (6, 2)
    """
    check_in_memory(adata, function="spm.tl.drug_features")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    sources, files = list(dict.fromkeys(as_names(sources))), dict(files or {})
    _check_request(sources, files, smiles, width or {})
    screen = ScreenNames.of(adata, as_names(drugs or []))

    made: dict[str, Made] = {}
    structures = None
    if set(sources) & set(STRUCTURES):
        given = read_smiles(adata, smiles, screen)
        structures = read_structures(given)
        names = _names_or_refuse({*screen.drugs, *given})
    strangers: dict[str, list[str]] = {}
    for source in sources:
        if structures is not None and source in STRUCTURES:
            made[source] = from_structures(source, names, structures, (width or {}).get(source))
        else:
            made[source], strangers[source] = from_table(files[source], screen)
            _names_or_refuse(made[source].table.index)
    slots = {_keys.DRUG_PREFIX + name: record_of(one, check_params(one.params)) for name, one in made.items()}
    if structures is not None:
        slots[_keys.DRUG_SMILES] = _smiles_record(names, structures, given)
    _warn(made, screen, structures, strangers)

    own(adata)
    adata.uns.update(slots)


def _check_request(sources: Sequence[str], files: Mapping[str, Any], smiles: Any, width: Mapping[str, int]) -> None:
    for source in sources:
        if source not in STRUCTURES and source not in files:
            msg = (
                f"source {source!r} is none of {list(STRUCTURES)}, so `files` must say where it is. "
                f'Pass `files={{"{source}": "table.csv"}}`. Found: {sorted(files)}.'
            )
            raise ValueError(msg)
        if "/" in source or _keys.DRUG_PREFIX + source == _keys.DRUG_SMILES:
            msg = f"source {source!r} cannot be the name of a slot: no '/', and not 'smiles'. Rename it."
            raise ValueError(msg)
    unused = sorted(set(files) - (set(sources) - set(STRUCTURES)))
    if unused:
        msg = f"`files` has {unused}, which no source reads. Add them to `sources`; found {list(sources)}."
        raise ValueError(msg)
    if smiles is not None and not set(sources) & set(STRUCTURES):
        msg = f"`smiles` is read by {list(STRUCTURES)} alone. Add one to `sources`; found {list(sources)}."
        raise ValueError(msg)
    for name, value in width.items():
        check_choice(name, [FINGERPRINT], "width")
        check_whole(value, f"width[{name!r}]")


def _names_or_refuse(names: Any) -> list[str]:
    if not len(names):
        msg = (
            "expected at least one drug; found none in `adata.obs` and in what was given. Label the cells "
            '(`spm.pp.perturbation_labels(adata, "drug", dose="dose")`), or name drugs: `drugs=[...]`.'
        )
        raise ValueError(msg)
    return sorted(names)


def _smiles_record(names: Sequence[str], found: Structures, given: Mapping[str, str]) -> dict[str, Any]:
    columns = {"drugs": names, "smiles": [found.smiles.get(name, "") for name in names]}
    columns["given"] = [given.get(name, "") for name in names]
    return {key: np.array(value, dtype=object) for key, value in columns.items()}


def _warn(
    made: Mapping[str, Made],
    screen: ScreenNames,
    structures: Structures | None,
    strangers: Mapping[str, Sequence[str]],
) -> None:
    """Say which SMILES cannot be read, which drugs a source does not know, and which rows are genes."""
    texts = []
    if structures is not None:
        if structures.invalid:
            listed = ", ".join(f"{name}: {text}" for name, text in sorted(structures.invalid.items()))
            texts.append(f"rdkit cannot read the SMILES of {len(structures.invalid)} drugs: {listed}. Correct them.")
        missing = sorted(screen.drugs - set(structures.smiles) - set(structures.invalid))
        if missing:
            texts.append(f"no SMILES is given for {len(missing)} drugs: {missing}. Their structure is not known.")
    for source, genes in strangers.items():
        missing = sorted(screen.drugs - known_names(made[source].table))
        if missing:
            texts.append(f"the table {source!r} does not hold {len(missing)} drugs: {missing[:_SHOWN]}.")
        if genes:
            texts.append(f"{len(genes)} rows of {source!r} are genes and were left out: {genes[:_SHOWN]}.")
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=3)
