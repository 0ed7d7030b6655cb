"""Read what the user asks to predict."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.dialects import read_label
from scperturbmamba.data.feature_tables import FeatureTable, feature_sources, read_features
from scperturbmamba.features.names import resolve_genes
from scperturbmamba.models.trained import Trained


def read_requests(adata: AnnData, labels: Sequence[str], model: Trained) -> list[Condition]:
    """Return the conditions that labels in any dialect name, each once, by the names that the predictor knows.

    Raises
    ------
    ValueError
        A label cannot be read, or none was given.
    """
    if not labels:
        msg = 'expected at least one perturbation, such as "TP53" or "MYC+TP53"; found none.'
        raise ValueError(msg)
    known = list(dict.fromkeys([*model.frame.encoder.parts, *model.frame.encoder.names]))
    names = frozenset(known)
    read = [read_label(label, names).condition for label in labels]
    named = sorted({name for condition in read for name in condition.names} - names)
    resolved = _resolve(named, known, adata.var) if named else {}
    conditions = [model.frame.kinds.complete(_renamed(condition, resolved)) for condition in read]
    conditions = list(dict.fromkeys(conditions))
    _warn_of_strangers(conditions, model)
    return conditions


def resolve_context(model: Trained, context: str | None) -> list[int]:
    """Return the contexts to predict in: the one asked for, or all.

    Raises
    ------
    ValueError
        The predictor was not trained in that context.
    """
    if context is None:
        return list(range(len(model.frame.contexts)))
    if context not in model.frame.contexts:
        known = list(model.frame.contexts)
        msg = f"`context` must be one of {known}, in which the predictor was trained; found {context!r}."
        raise ValueError(msg)
    return [model.frame.contexts.index(context)]


def later_features(adata: AnnData, model: Trained) -> tuple[FeatureTable, ...]:
    """Return the tables of the sources used in training, where ``adata`` still has them, made of the same inputs."""
    sources = [source for source in feature_sources(adata) if source in model.frame.encoder.provenance]
    if set(sources) != set(model.frame.encoder.provenance):
        return ()
    tables = read_features(adata, sources, np.asarray(adata.var_names.isin(model.frame.encoder.genes)))
    other = [table.source for table in tables if table.provenance != model.frame.encoder.provenance[table.source]]
    if other:
        text = (
            f"the gene features {other} in `adata` were made of other inputs than those of the training, so genes that "
            "only they describe stay unknown. Make them again of the same files, or train again."
        )
        warnings.warn(text, UserWarning, stacklevel=3)
        return ()
    return tables


def _renamed(condition: Condition, names: dict[str, str]) -> Condition:
    return Condition(tuple(replace(part, name=names.get(part.name, part.name)) for part in condition.parts))


def _resolve(names: Sequence[str], known: Sequence[str], var: pd.DataFrame) -> dict[str, str]:
    """Find names among the known ones, by the symbols and Ensembl ids that ``var`` gives them too."""
    resolved, _ = resolve_genes(names, var[~var.index.duplicated()].reindex(known))
    return {name: str(found) for name, found in zip(names, resolved) if isinstance(found, str) and found}


def _warn_of_strangers(conditions: Sequence[Condition], model: Trained) -> None:
    strangers = sorted(
        {
            part.name
            for condition in conditions
            for part in condition.parts
            if part.name not in model.frame.encoder.parts and not model.frame.encoder.has_features(part)
        }
    )
    if strangers:
        text = (
            f"nothing is known of {strangers[:10]}: neither seen in training nor described by a gene feature. "
            "Their prediction is what a perturbation does on average. Describe them: "
            "`spm.tl.gene_features(adata, ..., genes=[...])`."
        )
        warnings.warn(text, UserWarning, stacklevel=4)
