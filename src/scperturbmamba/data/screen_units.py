"""In which unit a screen writes the doses of each drug."""

from __future__ import annotations

from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition


def screen_units(adata: AnnData) -> dict[str, str]:
    """Return the unit of each drug's doses, of the drugs whose unit is known."""
    if _keys.DOSE_UNIT not in adata.obs:
        return {}
    pairs = adata.obs[[_keys.PERTURBATION, _keys.DOSE_UNIT]].dropna().astype(str).drop_duplicates()
    return {
        part.name: unit
        for label, unit in zip(pairs[_keys.PERTURBATION], pairs[_keys.DOSE_UNIT])
        for part in Condition.parse(label).parts
        if part.dose is not None
    }
