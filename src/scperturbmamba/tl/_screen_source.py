"""Another screen as a gene feature: what perturbing a gene does there, and how a gene responds there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_in_memory, check_key, check_log_normalised, check_unique_genes
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.control_groups import control_groups
from scperturbmamba.data.effect_table import read_effects
from scperturbmamba.data.profiles import effect_profiles, group_rows
from scperturbmamba.features.names import resolve_genes
from scperturbmamba.features.tables import with_known
from scperturbmamba.models.sparse.factors import masked_factors

SCREEN_SOURCES = (_keys.SCREEN, _keys.SCREEN_RESPONSE)
_DRAW = 2.0  # entries that no change counts for in the mean of a gene

Rows = NDArray[np.float64]


def screen_table(
    source: str,
    names: Sequence[str],
    reference: AnnData,
    *,
    width: int = 32,
    aliases: Mapping[str, Sequence[str]] | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Return genes × coordinates of another screen, and ``known``.

    The effects there, minus the mean effect per gene, are the product of ``"screen"``, a row per perturbed gene, and
    ``"screen_response"``, a row per measured gene: their leading singular vectors, of masked factors where there are
    gaps. Conditions of several genes and of drugs are left out.

    Raises
    ------
    KeyError
        The reference has no labels.
    ValueError
        No single gene is perturbed in it, or its ``X`` holds raw counts.
    """
    parts, effects, weight = _effects_of(reference)
    done, responds = _coordinates(effects, weight, width, np.random.default_rng(random_state))
    is_done = source == _keys.SCREEN
    known, values = (parts, done) if is_done else (list(map(str, reference.var_names)), responds)
    resolved, _ = resolve_genes(names, parts if is_done else reference.var, aliases=aliases)
    place = {name: row for row, name in enumerate(known)}
    rows = np.array([place.get(name, -1) for name in resolved], np.int64)
    columns = [f"effect{number + 1}" for number in range(values.shape[1])]
    return with_known(names, values.astype(np.float32), columns, rows)


def _effects_of(reference: AnnData) -> tuple[list[str], Rows, Rows]:
    """Return perturbed genes, their mean effects (perturbed × genes), 0 in gaps, and weights, 0 there."""
    check_in_memory(reference, function='spm.tl.gene_features(..., "screen")')
    check_unique_genes(reference)
    check_key(reference, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels(reference, column)")
    labels, delta, weight = _conditions_of(reference)
    conditions = [Condition.parse(label) for label in labels]
    single = [len(one.parts) == 1 and one.parts[0].dose is None for one in conditions]
    names = sorted({one.names[0] for one, alone in zip(conditions, single) if alone})
    if not names:
        msg = (
            "expected single perturbed genes in `reference`; found none among "
            f'{[str(label) for label in labels[:3]]}. Pass a screen with labels in `obs["perturbation"]`.'
        )
        raise ValueError(msg)
    place = {name: row for row, name in enumerate(names)}
    mine = [row for row, alone in enumerate(single) if alone]
    shape = (len(names), len(mine))
    member = sp.csr_matrix(
        (np.ones(len(mine)), ([place[conditions[row].names[0]] for row in mine], range(len(mine)))), shape
    )
    total = np.asarray(member @ weight[mine])
    product = np.asarray(member @ (weight[mine] * delta[mine]))
    return names, np.divide(product, total, out=np.zeros_like(total), where=total > 0), (total > 0).astype(np.float64)


def _conditions_of(reference: AnnData) -> tuple[list[str], Rows, Rows]:
    """Return label, effects and weights of each condition: cells against their controls, or a table as it is."""
    rows, group = group_rows(reference, context=None)
    if (rows["label"] == _keys.CONTROL).any():
        check_log_normalised(reference)
        treated = (rows["label"] != _keys.CONTROL).to_numpy()
        profiles = effect_profiles(reference.X, rows, group, control_groups(reference))
        delta = profiles.delta[treated].astype(np.float64)
        return list(rows["label"][treated]), delta, np.ones_like(delta)
    found = read_effects(reference, context=None)
    return list(found.rows["label"]), found.delta.astype(np.float64), found.weight.astype(np.float64)


def _coordinates(effects: Rows, weight: Rows, width: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Return perturbed × numbers and genes × numbers, whose product is the effects minus the mean per gene."""
    centre = (weight * effects).sum(0) / (weight.sum(0) + _DRAW)
    rest = weight * (effects - centre)
    width = min(width, *rest.shape)
    if weight.all():
        return _singular(rest, np.eye(rest.shape[1]), width)
    left, right = masked_factors(sp.csr_matrix(rest), sp.csr_matrix(weight), rng, rank=width)
    return _singular(left.astype(np.float64), right.astype(np.float64), width)


def _singular(left: Rows, right: Rows, width: int) -> tuple[Rows, Rows]:
    """Return the leading singular vectors of ``left @ right.T``, each times the root of its singular value."""
    a, square = np.linalg.qr(right)
    u, values, v = np.linalg.svd(left @ square.T, full_matrices=False)
    root = np.sqrt(values[:width])
    return u[:, :width] * root, a @ v[:width].T * root
