"""Divide a screen into what a model may see and what it is judged on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import (
    as_names,
    check_column,
    check_fraction,
    check_in_memory,
    check_key,
    check_params,
)
from scperturbmamba.data.control_groups import control_groups
from scperturbmamba.data.control_sides import matched_sides
from scperturbmamba.data.splits import SCHEMES, SIDES, Shares, split_cells
from scperturbmamba.data.views import own
from scperturbmamba.data.words import words_of
from scperturbmamba.pp._split_sides import (
    CELL,
    CONTEXT,
    DOSE,
    PAIR,
    assigned_sides,
    cell_sides,
    condition_sides,
    context_sides,
    dose_sides,
    pair_sides,
)
from scperturbmamba.pp._user_columns import keep_user_columns

_TEST_SIZE = {"doubles": 0.5, "simulation": 0.25, "dose": 1.0}  # the published protocols; elsewhere a fifth
_ALL_IN_TEST = ("doubles", "dose")  # schemes that leave enough for training where all that they hold out is tested
_NAMED = (CELL, CONTEXT, DOSE, PAIR)


def split_conditions(
    adata: AnnData,
    scheme: str | Path | Mapping[str, Any] = "perturbation",
    *,
    test_size: float | None = None,
    val_size: float = 0.1,
    context: str | None = None,
    held_out: str | Sequence[str] | None = None,
    n_shots: int = 0,
    fold: tuple[int, int] = (0, 5),
    random_state: int = 42,
    key_added: str = _keys.SPLIT,
) -> None:
    """Hold out conditions for validation and test, and give each side control cells of its own.

    Control cells are divided over the sides as well, so that the truth on the test side and the input of the model
    never share control noise. After :func:`match_controls` the control cells of a group go to the sides on which the
    group has treated cells: all to one side where its treated cells are all there, else divided at random in proportion
    to the treated cells, at least one to each side where there are enough. A context without treated training cells
    keeps control cells for training.

    Parameters
    ----------
    adata
        Cells × genes with canonical labels.
    scheme
        ``"perturbation"``: held-out genes take every condition that contains one with them, so that no part of a
        held-out condition is seen alone or in a combination, unless it stands beside a held-out part.
        ``"condition"``: conditions, each for itself; a part of a held-out combination may be seen alone.
        ``"kfold"``: one fold of the genes, see ``fold``.
        ``"simulation"``: as in GEARS, unseen genes, and pairs of which none, one or both genes are seen.
        ``"doubles"``: combinations only, every single is seen; ``test_size`` 0.5 is the protocol of Ahlmann-Eltze et
        al., 0.7 that of PerturBench, 0.3 that of mambaPerturb, 1.0 trains on singles alone.
        ``"context"``: a whole context, see ``held_out``.
        ``"dose"``: one dose of drugs with three or more, whose other doses are seen, see ``held_out``.
        ``"pair"``: conditions in single contexts; each is seen in another one, and each context with other conditions.
        ``"cell"``: cells of every condition, which is easy, as it asks nothing of unseen perturbations.
        Or a split that is given: a column of ``obs``, a ``.csv``, ``.tsv`` or ``.json`` file, or a mapping
        ``{label: side}`` or ``{side: labels}``.
    test_size
        Share held out for the test, rounded up: of the conditions (87 give 18), of the genes (``"simulation"``, 0.25 by
        default), of the combinations (``"doubles"``, 0.5), of the drugs with three or more doses (``"dose"``, all),
        of the pairs of condition and context, or of each condition's cells; 0.2 by default. Where combinations tie
        genes together, or too few conditions are in several contexts, a little less may be held out.
    val_size
        Share of the rest held out for validation, rounded up.
    context
        Column of ``obs`` whose levels (cell lines, batches) each divide their control cells over the sides.
    held_out
        With ``scheme="context"``, levels of ``context``; their control cells are still seen. With ``scheme="dose"``,
        ``"middle"`` (the default), or ``"highest"`` or ``"lowest"``, which ask for an extrapolation.
    n_shots
        Perturbations of a held-out context that are seen there, with ``scheme="context"``.
    fold
        Number of the fold to test, from 0, and how many there are, with ``scheme="kfold"``.
    random_state
        Seed.
    key_added
        Name of the slots.

    Returns
    -------
    None
        Writes ``obs[key_added]`` (category ``train``, ``val``, ``test``; NaN where a cell has no label or no side) and
        ``uns[key_added]["params"]``. A column of the user's of that name is kept as ``obs["<name>_original"]``.

    Raises
    ------
    KeyError
        The labels or a column are not there.
    ValueError
        A share is out of range, a scheme or level is unknown, or a side would be empty.

    References
    ----------
    Roohani et al. (2023), Nature Biotechnology (GEARS). Ahlmann-Eltze et al. (2025), Nature Methods. Wu et al. (2024),
    PerturBench.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.split_conditions(adata)
    >>> adata.obs.query("not is_control").groupby("split", observed=True)["perturbation"].nunique().to_dict()
    {'train': 6, 'val': 1, 'test': 2}
    """
    check_in_memory(adata, function="spm.pp.split_conditions")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    name = _scheme_name(adata, scheme)
    test = _TEST_SIZE.get(name, 0.2) if test_size is None else test_size
    if not (name in _ALL_IN_TEST and test == 1):
        check_fraction(test, "test_size")
    check_fraction(val_size, "val_size")
    if context is not None:
        check_column(adata, context, argument="context")
    labels = words_of(adata.obs[_keys.PERTURBATION]).astype(object).where(adata.obs[_keys.PERTURBATION].notna())
    level = pd.Series("all", index=adata.obs_names) if context is None else words_of(adata.obs[context], missing="nan")

    rng = np.random.default_rng(random_state)
    shares = Shares(test, val_size, *map(int, fold))
    given_level = None if context is None else level
    if name in SCHEMES:
        side = condition_sides(labels, SCHEMES[name], shares, rng)
    elif name == CELL:
        side = cell_sides(labels, level, shares, rng)
    elif name == CONTEXT:
        side = context_sides(labels, given_level, held_out, n_shots, shares, rng)
    elif name == DOSE:
        side = dose_sides(labels, held_out, shares, rng)
    elif name == PAIR:
        side = pair_sides(labels, given_level, shares, rng)
    else:
        side = assigned_sides(adata, labels, scheme, shares, rng)
    side = _with_controls(
        adata, side, level, Shares(min(test, 0.5), val_size), rng, keep=name not in (*SCHEMES, *_NAMED)
    )

    held = None if held_out is None else as_names(held_out)
    given = {
        "scheme": name, "test_size": test, "val_size": val_size, "context": context, "held_out": held,
        "n_shots": int(n_shots), "fold": shares.fold, "n_folds": shares.n_folds, "random_state": random_state,
    }  # fmt: skip
    params = check_params(given)
    own(adata)
    keep_user_columns(adata, [key_added], written_by=key_added)
    adata.obs[key_added] = pd.Categorical(side, categories=list(SIDES))
    adata.uns[key_added] = {_keys.PARAMS: params}


def _scheme_name(adata: AnnData, scheme: str | Path | Mapping[str, Any]) -> str:
    """Return the name of a scheme, ``"column ..."``, ``"file ..."`` or ``"given"``."""
    if isinstance(scheme, Mapping):
        return "given"
    if str(scheme) in (*SCHEMES, *_NAMED):
        return str(scheme)
    if isinstance(scheme, str) and scheme in adata.obs:
        return f"column {scheme}"
    if Path(scheme).suffix in (".json", ".csv", ".tsv"):
        return f"file {Path(scheme).name}"
    msg = (
        f"`scheme` must be one of {[*SCHEMES, *_NAMED]}, a column of `adata.obs`, a mapping, or a .csv, .tsv or "
        f".json file; found {scheme!r}."
    )
    raise ValueError(msg)


def _with_controls(
    adata: AnnData, side: pd.Series, level: pd.Series, shares: Shares, rng: np.random.Generator, *, keep: bool
) -> pd.Series:
    """Return the sides with those of the control cells; controls that lie on all sides already may stay there."""
    is_control = (adata.obs[_keys.PERTURBATION] == _keys.CONTROL).to_numpy()
    groups, on_all_sides = control_groups(adata), set(SIDES) <= set(side[is_control].dropna())
    if on_all_sides and (keep or groups is None):
        return side
    places = pd.factorize(level)[0].astype(np.int64)
    sizes: dict[str, Any] = {"test_size": shares.test, "val_size": shares.val, "rng": rng}
    side = side.copy()
    if groups is None:
        side[is_control] = split_cells(places[is_control], **sizes)
        _warn_of_few_controls(level[is_control])
    else:
        sides = side.to_numpy(dtype=object)
        side[is_control], n_few = matched_sides(groups, places, sides, is_control, **sizes)
        if n_few:
            text = (
                f"{n_few} control groups have fewer control cells than sides; on a side without, their treated cells "
                "are compared with all control cells of the context."
            )
            warnings.warn(text, UserWarning, stacklevel=3)
    return side


def _warn_of_few_controls(level: pd.Series) -> None:
    n_control = level.value_counts()
    few = {str(name): int(n) for name, n in n_control[n_control < len(SIDES)].items()}
    if few:
        text = f"too few control cells to give train, val and test some of their own: {few}."
        warnings.warn(text, UserWarning, stacklevel=4)
