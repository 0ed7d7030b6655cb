"""Does the inverse find what the forward model was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys, metrics
from scperturbmamba._checks import check_key, check_whole
from scperturbmamba.data.conditions import Condition
from scperturbmamba.models.inverse.base import score_sets
from scperturbmamba.models.inverse.pairs import sets_of
from scperturbmamba.tl._inverse_library import predicted_effects
from scperturbmamba.tl._inverse_stored import find_inverse
from scperturbmamba.tl._predict import predict


def cycle_consistency(
    adata: AnnData,
    perturbations: str | Sequence[str] | None = None,
    *,
    n_cells: int = 50,
    key: str = _keys.INVERSE,
    predictor_key: str = _keys.PREDICTOR,
) -> pd.DataFrame:
    """Predict perturbations with the forward model and see where the inverse model ranks them.

    Parameters
    ----------
    adata
        The screen that carries a predictor and a trained inverse model; it is not changed.
    perturbations
        Singles to predict; the default is every candidate of the inverse model.
    n_cells
        As how many cells a predicted profile counts.
    key, predictor_key
        Names of the slots with the inverse model and the predictor.

    Returns
    -------
    DataFrame
        A row per perturbation: ``rank`` (1 is best), ``hit_at_1``, ``reciprocal_rank``, ``chance`` of that,
        ``n_candidates``, ``seen`` (the forward model was trained on it).

    Raises
    ------
    KeyError
        One of the models is not there.
    ValueError
        None of the perturbations is a candidate of the inverse model.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=30)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.settings.progress = False
    >>> spm.tl.train_predictor(adata, preset="fast")
    >>> spm.tl.train_inverse(adata, key=None)
    >>> list(spm.tl.cycle_consistency(adata).columns[:3])
    ['rank', 'hit_at_1', 'reciprocal_rank']
    """
    check_key(adata, "uns", predictor_key, made_by="spm.tl.train_predictor")
    check_whole(n_cells, "n_cells")
    trained = find_inverse(adata, None, key)
    labels = [part.label for part in trained.candidates]
    wanted = labels if perturbations is None else [perturbations] if isinstance(perturbations, str) else perturbations
    predicted = predict(adata, list(wanted), key=predictor_key)
    effects = predicted_effects(predicted, trained)
    found = [(part, effects[part]) for part in trained.candidates if part in effects]
    if not found:
        msg = f"none of {list(wanted)[:5]} is a candidate of the inverse model. Candidates: {labels[:10]}."
        raise ValueError(msg)

    x = (trained.centre + np.array([effect for _, effect in found])).astype(np.float32)
    sets = sets_of(range(len(labels)), fewest=1)
    scores = score_sets(trained.model, x, np.full(len(x), int(n_cells)), sets)
    names = [Condition((part,)).label for part, _ in found]
    truth = np.array([[label == name for label in labels] for name in names])
    own = (truth * scores).sum(1, keepdims=True)

    table = pd.DataFrame(index=pd.Index(names, name=None))
    table["rank"] = (scores > own).sum(1) + 1
    table["hit_at_1"] = metrics.hit_at_k(truth, scores)
    table["reciprocal_rank"] = metrics.reciprocal_rank(truth, scores)
    table["chance"] = metrics.reciprocal_rank(truth, np.zeros_like(scores))
    table["n_candidates"] = len(labels)
    seen = predicted.obs.groupby(predicted.obs[_keys.PERTURBATION].astype(str), observed=True)["seen"].any()
    table["seen"] = [bool(seen.get(name, False)) for name in names]
    return table
