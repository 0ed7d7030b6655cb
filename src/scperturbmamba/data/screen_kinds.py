"""What was done to each part of a condition, as the cells of a screen say."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.kinds import DRUG
from scperturbmamba.data.words import words_of


def with_kinds(adata: AnnData, labels: pd.Series) -> list[Condition]:
    """Read the labels, and give each part the kind that its cells carry."""
    conditions = [Condition.parse(label) for label in labels]
    if _keys.PERTURBATION_TYPE not in adata.obs:
        return conditions
    pairs = adata.obs[[_keys.PERTURBATION, _keys.PERTURBATION_TYPE]].drop_duplicates(_keys.PERTURBATION)
    kinds = dict(zip(words_of(pairs[_keys.PERTURBATION]), words_of(pairs[_keys.PERTURBATION_TYPE])))
    return [_with_kind(one, kinds.get(label, "")) for one, label in zip(conditions, labels)]


def _with_kind(condition: Condition, text: str) -> Condition:
    """Give each part its kind; where drugs and genes go together, the dose tells the drug."""
    kinds = text.split("+")
    if len(kinds) > 1 and DRUG in kinds:
        parts = (part if part.kind or part.dose is None else replace(part, kind=DRUG) for part in condition.parts)
        return Condition(tuple(parts)).with_kind(gene_kind("+".join(kind for kind in kinds if kind != DRUG)))
    return condition.with_kind(gene_kind(text))


def gene_kind(text: str) -> str:
    """Return the one kind that ``obs["perturbation_type"]`` names, empty where it names several or none."""
    kinds = [kind for kind in text.split("+") if kind not in ("nan", _keys.CONTROL, "")]
    return kinds[0] if len(kinds) == 1 and kinds[0] != "unknown" else ""
