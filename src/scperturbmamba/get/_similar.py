"""The neighbours of a perturbation, as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_key, did_you_mean


def similar(
    adata: AnnData,
    perturbation: str | Sequence[str] | None = None,
    *,
    n: int = 10,
    key: str = _keys.SIMILARITY,
) -> pd.DataFrame:
    """Return the perturbations that act most like each, most alike first.

    Parameters
    ----------
    adata
        Profiles after ``tl.similar_perturbations``.
    perturbation
        Row or rows whose neighbours are wanted; the default is all.
    n
        How many neighbours of each.
    key
        Name of the slot.

    Returns
    -------
    DataFrame
        ``perturbation``, ``neighbour``, ``similarity``.

    Raises
    ------
    KeyError
        There is no similarity, or a row asked for has none, as the control.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> bulk = spm.pp.pseudobulk(adata)
    >>> spm.tl.similar_perturbations(bulk)
    >>> len(spm.get.similar(bulk, bulk.obs_names[1], n=3))
    3
    """
    check_key(adata, "obsp", key, made_by="spm.tl.similar_perturbations")
    alike = pd.DataFrame(np.asarray(adata.obsp[key]), index=adata.obs_names, columns=adata.obs_names)
    alike = alike.dropna(how="all").dropna(axis=1, how="all")
    asked = list(alike.index) if perturbation is None else as_names(perturbation)
    for name in asked:
        if name not in alike.index:
            msg = f"`adata.obsp[{key!r}]` has no similarity for {name!r}.{did_you_mean(name, alike.index)}"
            raise KeyError(msg)
    found = [alike.loc[name].drop(name).dropna().sort_values(ascending=False, kind="stable")[:n] for name in asked]
    return pd.DataFrame(
        {
            "perturbation": np.repeat(np.asarray(asked, dtype=object), [len(one) for one in found]),
            "neighbour": [name for one in found for name in one.index],
            "similarity": np.concatenate([one.to_numpy() for one in found]) if found else [],
        }
    )
