"""Rank the perturbations that may have made a transcriptome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from tqdm.auto import tqdm

from scperturbmamba import _keys
from scperturbmamba._checks import (
    as_names,
    check_choice,
    check_in_memory,
    check_log_normalised,
    check_params,
    check_whole,
)
from scperturbmamba._settings import settings
from scperturbmamba.data.views import own
from scperturbmamba.models.inverse.answers import decide, marginal
from scperturbmamba.models.inverse.base import Sets
from scperturbmamba.models.inverse.pairs import MOST_PARTS, search
from scperturbmamba.tl._inverse_library import with_library
from scperturbmamba.tl._inverse_queries import Queries, average, group_names, read_queries
from scperturbmamba.tl._inverse_stored import Inverse, find_inverse


@dataclass(frozen=True)
class Ranked:
    """What is said of some profiles.

    Attributes
    ----------
    marginal
        (profiles × candidates): probability that a candidate was perturbed, alone or with another.
    control
        (profiles,): probability of the control.
    inferred, probability
        The answer per profile, and its probability.
    best
        Per profile the likeliest sets: (set, score, probability), the best first.
    """

    marginal: NDArray[np.float64]
    control: NDArray[np.float64]
    inferred: list[str]
    probability: NDArray[np.float64]
    best: list[list[tuple[tuple[int, ...], float, float]]]


def rank_perturbations(
    adata: AnnData,
    *,
    groupby: str | Sequence[str] | None = None,
    min_parts: int = 0,
    max_parts: int = 1,
    max_candidates: int = 50,
    library: AnnData | Sequence[str] | None = None,
    inverse: AnnData | None = None,
    key: str = _keys.INVERSE,
    key_added: str = _keys.INFERRED_SCORES,
) -> None:
    """Rank the perturbations that may have made each cell, group of cells or profile, with calibrated probabilities.

    A group of cells says far more than its cells one by one. The answer is ``"control"`` where the control, together
    with the candidates whose effect did not repeat in training, is the likeliest.

    Parameters
    ----------
    adata
        Cells × genes with log-normalised ``X``, or profiles (``obs["n_cells"]``), with or without labels. Control
        cells, where there are some, are what each batch is compared with.
    groupby
        Column or columns of ``obs``: the cells of a group are averaged and ranked together.
    min_parts, max_parts
        Fewest and most perturbed genes: 0 to 1 by default. 0 to 2 looks at pairs as well, though whether one or two
        genes were perturbed can rarely be told from a profile; 2 to 2 says that it is known to be a pair.
    max_candidates
        How many of the best singles are combined into pairs, and how many answers of a group are kept.
    library
        More candidates, never perturbed in training: genes that the predictor in ``uns["predictor"]`` of the AnnData
        with the model is asked for, or an AnnData that ``tl.predict`` returned. Only for models that compare effects.
    inverse
        Where the trained model is, if not in ``adata``.
    key
        Name of the slot with the model.
    key_added
        Name of the slots.

    Returns
    -------
    None
        Writes ``obsm[key_added]`` (a named column per candidate: the probability that it was perturbed, alone or
        with another; ``"control"`` first where ``min_parts`` is 0), ``obs["perturbation_inferred"]`` (category),
        ``obs["perturbation_inferred_probability"]``, and ``uns[key_added]``: ``params``; with ``groupby`` also
        ``groups``, a row per group (``n_cells``, ``inferred``, ``probability``), and ``ranking``, the best answers of
        each group (``group``, ``rank``, ``perturbation``, ``n_parts``, ``score``, ``probability``, ``detectable``: the
        effect of a part of it repeated in training). Cells of no group
        get NaN.

    Raises
    ------
    KeyError
        There is no trained model, or a column is missing.
    ValueError
        Genes of the training are missing, or the numbers of parts make no sense.
    TypeError
        A library is given to a model that does not compare effects.

    References
    ----------
    Ahlmann-Eltze et al. (2025), Nature Methods: train on singles, ask for doubles.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=30)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.tl.train_inverse(adata, key=None)
    >>> spm.tl.rank_perturbations(adata, groupby="perturbation")
    >>> adata.uns["perturbation_scores"]["groups"].shape
    (10, 3)
    """
    check_in_memory(adata, function="spm.tl.rank_perturbations")
    check_log_normalised(adata)
    check_choice(max_parts, (1, MOST_PARTS), "max_parts")
    check_choice(min_parts, range(max_parts + 1), "min_parts")
    check_whole(max_candidates, "max_candidates")
    trained = find_inverse(adata, inverse, key)
    groups = None if groupby is None else group_names(adata, groupby)
    trained = with_library(trained, library, adata if inverse is None else inverse)
    queries, names = read_queries(adata, trained), list(adata.obs_names)
    if groups is not None:
        queries, names = average(queries, groups)

    found = rank_queries(trained, queries, fewest=min_parts, most=max_parts, max_candidates=max_candidates)

    row = np.arange(adata.n_obs) if groups is None else pd.Index(names).get_indexer(groups.astype(object))
    params = {
        "groupby": None if groupby is None else as_names(groupby),
        "min_parts": int(min_parts),
        "max_parts": int(max_parts),
        "max_candidates": int(max_candidates),
        "n_candidates": len(trained.candidates),
        "model": trained.name,
        "inverse": key,
    }
    written: dict[str, Any] = {_keys.PARAMS: check_params(params)}
    if groups is not None:
        written |= {"groups": _group_table(found, queries, names), "ranking": _ranking(found, trained, names)}
    own(adata)
    adata.obsm[key_added] = _columns(found, trained, row, with_control=min_parts == 0, index=adata.obs_names)
    inferred = pd.Series(found.inferred, dtype=object)
    adata.obs[_keys.INFERRED] = pd.Categorical(inferred.reindex(np.where(row < 0, len(inferred), row)))
    adata.obs[_keys.INFERRED_PROBABILITY] = np.append(found.probability, np.nan)[row]
    adata.uns[key_added] = written


def rank_queries(trained: Inverse, queries: Queries, *, fewest: int, most: int, max_candidates: int) -> Ranked:
    """Search, weigh and answer, for every query."""
    n, n_candidates = len(queries.x), len(trained.candidates)
    margin, control, probability = np.zeros((n, n_candidates)), np.zeros(n), np.zeros(n)
    inferred, best = [""] * n, [[] for _ in range(n)]  # type: tuple[list[str], list[Any]]
    steps = search(
        trained.model, queries.x, queries.n_cells, n_candidates=n_candidates, fewest=fewest, most=most,
        max_candidates=max_candidates,
    )  # fmt: skip
    with tqdm(desc="rank", unit="profile", total=n, disable=not settings.progress) as bar:
        for some in steps:
            found = trained.probabilities(some.scores, some.sets, queries.n_cells[some.rows])
            answers = decide(found, some.sets, trained.posterior.detectable if fewest == 0 else _every(n_candidates))
            margin[some.rows] = marginal(found, some.sets, n_candidates)
            control[some.rows] = found[:, [not one for one in some.sets]].sum(1)
            probability[some.rows] = answers.probability
            for row, one, scores, weights in zip(some.rows, answers.sets, some.scores, found):
                inferred[row] = trained.label(one)
                best[row] = _best(some.sets, scores, weights, max_candidates)
            bar.update(len(some.rows))
    return Ranked(margin, control, inferred, probability, best)


def _every(n: int) -> NDArray[np.bool_]:
    return np.ones(n, dtype=bool)


def _best(
    sets: Sets, scores: NDArray[np.float64], probability: NDArray[np.float64], n: int
) -> list[tuple[tuple[int, ...], float, float]]:
    order = np.argsort(-probability, kind="stable")[:n]
    return [(tuple(sets[place]), float(scores[place]), float(probability[place])) for place in order]


def _group_table(found: Ranked, queries: Queries, names: list[str]) -> pd.DataFrame:
    columns = {"n_cells": queries.n_cells, "inferred": pd.Categorical(found.inferred), "probability": found.probability}
    return pd.DataFrame(columns, index=names)


def _ranking(found: Ranked, trained: Inverse, names: list[str]) -> pd.DataFrame:
    told = trained.posterior.detectable
    rows = [
        (name, rank, trained.label(one), len(one), score, probability, bool(told[list(one)].any()))
        for name, best in zip(names, found.best)
        for rank, (one, score, probability) in enumerate(best, start=1)
    ]
    columns = ["group", "rank", _keys.PERTURBATION, "n_parts", "score", "probability", "detectable"]
    table = pd.DataFrame(rows, columns=columns)
    return table.set_index(table.index.astype(str))


def _columns(
    found: Ranked, trained: Inverse, row: NDArray[np.int64], *, with_control: bool, index: pd.Index
) -> pd.DataFrame:
    names = [part.label for part in trained.candidates]
    table = found.marginal
    if with_control:
        names, table = [_keys.CONTROL, *names], np.column_stack([found.control, table])
    table = np.vstack([table, np.full(table.shape[1], np.nan)])[row]
    return pd.DataFrame(table.astype(np.float32), index=index, columns=names)
