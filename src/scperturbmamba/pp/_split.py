"""Divide a screen into what a model may see and what it is judged on."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_column, check_fraction, check_in_memory, check_key, check_params
from scperturbmamba.data.splits import SIDES, split_cells, split_labels
from scperturbmamba.data.views import own
from scperturbmamba.data.words import words_of
from scperturbmamba.pp._user_columns import keep_user_columns


def split_conditions(
    adata: AnnData,
    *,
    test_size: float = 0.2,
    val_size: float = 0.1,
    context: str | None = None,
    random_state: int = 42,
    key_added: str = _keys.SPLIT,
) -> None:
    """Hold out whole conditions for validation and test, and give each side control cells of its own.

    A condition lies on one side. Control cells are divided over the sides as well, so that the truth on the test
    side and the input of the model never share control noise.

    Parameters
    ----------
    adata
        Cells × genes with canonical labels.
    test_size
        Share of the conditions held out for the test, rounded up: 87 conditions give 18.
    val_size
        Share of the rest held out for validation, rounded up.
    context
        Column of ``obs`` whose levels (cell lines, batches) each divide their control cells over the sides.
    random_state
        Seed.
    key_added
        Name of the slots.

    Returns
    -------
    None
        Writes ``obs[key_added]`` (category ``train``, ``val``, ``test``; NaN where a cell has no label) and
        ``uns[key_added]["params"]``. A column of the user's of that name is kept as ``obs["<name>_original"]``.

    Raises
    ------
    KeyError
        The labels or the context column are not there.
    ValueError
        A share is not between 0 and 1, or a side would be empty.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.split_conditions(adata)
    >>> adata.obs.groupby("split", observed=True)["perturbation"].nunique().to_dict()
    {'train': 7, 'val': 2, 'test': 3}
    """
    check_in_memory(adata, function="spm.pp.split_conditions")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    check_fraction(test_size, "test_size")
    check_fraction(val_size, "val_size")
    if context is not None:
        check_column(adata, context, argument="context")
    labels = adata.obs[_keys.PERTURBATION].astype("category")
    is_control = (labels == _keys.CONTROL).to_numpy()
    level = pd.Series("all", index=adata.obs_names) if context is None else words_of(adata.obs[context], missing="nan")

    rng = np.random.default_rng(random_state)
    treated = sorted(set(labels.dropna()) - {_keys.CONTROL})
    side = labels.astype(object).map(split_labels(treated, test_size=test_size, val_size=val_size, rng=rng))
    groups = pd.factorize(level)[0][is_control]
    side[is_control] = split_cells(groups, test_size=test_size, val_size=val_size, rng=rng)
    _warn_of_few_controls(level[is_control])

    params = check_params(
        {"test_size": test_size, "val_size": val_size, "context": context, "random_state": random_state}
    )
    own(adata)
    keep_user_columns(adata, [key_added], written_by=key_added)
    adata.obs[key_added] = pd.Categorical(side, categories=list(SIDES))
    adata.uns[key_added] = {_keys.PARAMS: params}


def _warn_of_few_controls(level: pd.Series) -> None:
    n_control = level.value_counts()
    few = {str(name): int(n) for name, n in n_control[n_control < len(SIDES)].items()}
    if few or not len(level):
        text = f"too few control cells to give train, val and test some of their own: {few or 'none at all'}."
        warnings.warn(text, UserWarning, stacklevel=3)
