"""Read the perturbation labels of a screen, in any dialect, into canonical slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_in_memory, check_params
from scperturbmamba.data.control_names import fold
from scperturbmamba.data.views import own
from scperturbmamba.data.words import words_of
from scperturbmamba.pp._columns import find_columns
from scperturbmamba.pp._label_cells import UNIT, cell_slots, label_table
from scperturbmamba.pp._label_columns import KEPT, SLOTS, keep_columns, user_column, user_obs
from scperturbmamba.pp._label_inputs import read_inputs
from scperturbmamba.pp._label_readings import read_labels, report


def perturbation_labels(
    adata: AnnData,
    column: str | None = None,
    *,
    control: str | Sequence[str] | None = None,
    dose: str | None = None,
    dose_unit: str | None = None,
    perturbation_type: str | None = None,
    separator: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> None:
    r"""Read the labels of a screen, in any dialect, into the slots that everything else reads.

    ``TP53+ctrl``, ``ctrl+TP53``, ``A_B`` (where ``A`` and ``B`` are known names), ``non-targeting``, ``NegCtrl0``,
    ``BRCA1_KO``, ``MYC_activation``, ``A549_CBL+CNN1_1+1``, ``K562_---_TP53``, ``dasatinib@10``, ``dasatinib@10 nM``
    and ``[('dasatinib', 10, 'nM')]`` are understood. Mixed spellings and likely typos of the control are reported.

    A drug at dose 0 is the control. Doses in several units of one family (``nM`` and ``uM``) are converted to the one
    that most cells have; of several, to the largest.

    Parameters
    ----------
    adata
        Cells × genes.
    column
        Column of ``obs`` with a label per cell; the default is found by :func:`detect_columns`.
    control
        Labels that mean control, beside the usual words.
    dose
        Column of ``obs`` with the dose of a cell's drug, a number; 0 is the vehicle. Beside a gene that stands alone, 0
        says only that there was no drug.
    dose_unit
        Column of ``obs`` with the unit, or the unit itself: ``M``, ``mM``, ``uM``, ``nM``, ``pM``; ``g/L``, ``mg/mL``,
        ``ug/mL``, ``ng/mL``, ``pg/mL``; ``mg/kg``, ``ug/kg``; ``%``; ``relative`` (share of the highest dose), in any
        usual spelling. A unit in the label itself comes first. Where nothing says it, a dose has no unit.
    perturbation_type
        What was done to the genes, one of ``knockout``, ``CRISPRi``, ``CRISPRa``, ``overexpression``, ``drug``,
        ``other``, or a column of ``obs`` that says so. The default reads labels and column names.
    separator
        What joins the parts of a combination, where it is not ``+``.
    rename
        Labels to read as other labels, such as ``{"contrl": "control"}``.

    Returns
    -------
    None
        Writes into ``adata``:

        ``obs["perturbation"]``
            Category, canonical: ``"control"`` first, then sorted; NaN where a cell has no label.
        ``obs["perturbation_idx"]``
            Integer: 0 for the control, -1 where a cell has no label.
        ``obs["is_control"]``, ``obs["n_parts"]``
            Boolean; number of parts, 0 for the control, -1 without a label.
        ``obs["perturbation_type"]``, ``obs["dose"]``, ``obs["dose_unit"]``
            Category; dose of the cell's drug in that unit, NaN where there is none; category.
        ``uns["perturbation"]``
            ``params``, ``labels`` (a table of what each label was read as, with ``unit`` and, where doses were
            converted, ``converted_from``) and ``kept`` (where the user's columns that bear our names are).

        A column of the user's that bears one of these names is kept as ``obs["<name>_original"]``. Running twice
        changes nothing.

    Raises
    ------
    KeyError
        A column is not there, or none can be recognised.
    ValueError
        A label or a unit cannot be read, no cell is labelled, a dose is no number, infinite or negative, or one drug
        has doses in units of two families.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> int(adata.obs["is_control"].sum()) > 0
    True
    """
    check_in_memory(adata, function="spm.pp.perturbation_labels")
    column = column or _detected(adata)
    source = user_column(adata, column, argument="column")
    inputs = read_inputs(adata, column, dose=dose, dose_unit=dose_unit, perturbation_type=perturbation_type)
    extra_controls = {fold(word) for word in as_names(control or [])}
    raw = words_of(source).str.strip().replace(dict(rename or {}))
    genes = set(map(str, adata.var_names))

    readings = read_labels(raw, genes, extra_controls, separator)
    table = cell_slots(raw, readings, inputs, genes)
    report(readings, genes, has_control=bool(table[_keys.IS_CONTROL].any()))

    params = {
        "column": column,
        "control_labels": sorted(label for label, one in readings.items() if one and one.condition.is_control),
        "dose": dose,
        "dose_unit": dose_unit,
        "units": sorted({unit for units in table[UNIT].unique() for unit in units.split("+")} - {""}),
        "perturbation_type": perturbation_type,
        "separator": separator,
    }
    _write(adata, table, {_keys.PARAMS: check_params(params), "labels": label_table(raw, table)})


def _detected(adata: AnnData) -> str:
    column = find_columns(user_obs(adata))["perturbation"] or find_columns(adata.obs)["perturbation"]
    if column is None:
        msg = (
            "no column of `adata.obs` looks like a perturbation label. "
            f'Name it: `spm.pp.perturbation_labels(adata, "column")`. Found: {list(adata.obs.columns)}.'
        )
        raise KeyError(msg)
    return str(column)


def _write(adata: AnnData, table: pd.DataFrame, record: dict[str, Any]) -> None:
    own(adata)
    record[KEPT] = keep_columns(adata)
    for slot in SLOTS:
        adata.obs[slot] = table[slot]
    adata.uns[_keys.PERTURBATION] = record
