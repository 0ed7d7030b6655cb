"""From scores to a judgement: what was held out, who beats whom, in which strata, and what has collapsed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scperturbmamba._judging import ALL_GENES, CEILINGS
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, part_names
from scperturbmamba.tl._ceiling import split_half_correlation
from scperturbmamba.tl._comparison import collapse, compare, pairs_of, stratify, verdicts
from scperturbmamba.tl._metric_table import METRICS, significant_genes
from scperturbmamba.tl._scoring import summarise
from scperturbmamba.tl._truth import Truth


def held_out_rows(truth: Truth, halves: tuple[Truth, Truth] | None, bundle: Bundle) -> pd.DataFrame:
    """Return what is known of each judged condition.

    ``perturbation``, ``context``, ``n_cells``, ``effect_size`` (root mean square of the measured effect),
    ``n_changed_genes``, ``split_half_r`` (NaN without halves), ``novelty`` (how many of its parts were in training).
    """
    seen = set(part_names(bundle.conditions[row] for row in bundle.training()))
    table = pd.DataFrame(
        {
            "perturbation": truth.rows["label"].to_numpy(),
            "context": truth.rows["context"].to_numpy(),
            "n_cells": truth.n_cells,
            "effect_size": np.sqrt(np.nanmean(np.square(truth.delta, dtype=np.float64), axis=1)),
            "n_changed_genes": significant_genes(truth).sum(1),
            "split_half_r": np.nan if halves is None else split_half_correlation(halves),
            "novelty": [_novelty(Condition.parse(label), seen) for label in truth.rows["label"]],
        }
    )
    table.index = table.index.astype(str)
    return table


def _novelty(condition: Condition, seen: set[str]) -> str:
    n = len(condition.parts)
    known = sum(part.name in seen for part in condition.parts)
    if n == 1:
        return "seen gene" if known else "unseen gene"
    return f"{known} of {n} seen"


def judge(
    scores: pd.DataFrame,
    scale: pd.DataFrame,
    rows: pd.DataFrame,
    models: Mapping[str, NDArray[np.float32]],
    truth: NDArray[np.float32],
) -> dict[str, Any]:
    """Return the tables of a judgement by name, ready for ``uns``.

    ``scores`` (tidy), ``summary`` and ``scaled`` (models × metrics), ``comparison``, ``verdicts``, ``strata``,
    ``collapse`` and ``conditions``.
    """
    names = [name for name in dict.fromkeys(scores["model"]) if name not in CEILINGS]
    comparison = compare(scores, pairs_of(names))
    scores = scores.reset_index(drop=True)
    scores.index = scores.index.astype(str)
    return {
        "scores": scores,
        "summary": summarise(scores),
        "scaled": _wide(scale),
        "comparison": comparison,
        "verdicts": verdicts(comparison),
        "strata": stratify(scores, rows),
        "collapse": collapse(models, truth),
        "conditions": rows,
    }


def _wide(scale: pd.DataFrame) -> pd.DataFrame:
    some = scale[scale["genes"] == ALL_GENES]
    wide = some.pivot_table(index="model", columns="metric", values="value", aggfunc="mean", sort=False, dropna=False)
    return wide.reindex(columns=[name for name in METRICS if name in wide])
