"""Read what the user asks to predict."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.dialects import Reading, read_label
from scperturbmamba.data.dose_units import KNOWN
from scperturbmamba.data.feature_tables import FeatureTable, feature_sources, read_features
from scperturbmamba.features.names import resolve_genes
from scperturbmamba.models.trained import Trained

_DOSE_IN = re.compile(r"@\s*\d[\d.e+-]*\s*([^\W\d_][\w/%]*)$")


def read_requests(adata: AnnData, labels: Sequence[str], model: Trained) -> list[Condition]:
    """Return the conditions that labels in any dialect name, each once, by the names that the predictor knows.

    A dose with a unit, as in ``dasatinib@10 nM``, is converted to the one of the training.

    Raises
    ------
    ValueError
        A label cannot be read, none was given, or a dose has a unit that cannot be converted.
    """
    if not labels:
        msg = 'expected at least one perturbation, such as "TP53" or "MYC+TP53"; found none.'
        raise ValueError(msg)
    known = list(dict.fromkeys([*model.frame.encoder.parts, *model.frame.encoder.names]))
    names = frozenset(known)
    read = [_in_the_units_of(model, read_label(label, names)) for label in labels]
    named = sorted({name for condition in read for name in condition.names} - names)
    resolved = _resolve(named, known, adata.var) if named else {}
    conditions = [model.frame.kinds.complete(_renamed(condition, resolved)) for condition in read]
    conditions = list(dict.fromkeys(conditions))
    _check_units(conditions, names)
    _warn_of_strangers(conditions, model)
    return conditions


def _in_the_units_of(model: Trained, reading: Reading) -> Condition:
    """Convert the doses of a label; a drug that was not screened has the unit that most drugs of the screen have."""
    known = model.frame.encoder.doses.units
    if not reading.units:
        return reading.condition
    if not known:
        msg = (
            f"{reading.condition.label!r} was asked for with a unit, and the doses of the training have none. Leave "
            "the unit out, or train with `spm.pp.perturbation_labels(adata, column, dose_unit=...)`."
        )
        raise ValueError(msg)
    usual = Counter(known.values()).most_common(1)[0][0]
    return reading.in_units({name: known.get(name, usual) for name in reading.condition.names})


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
            f"the features {other} in `adata` were made of other inputs than those of the training, so genes and drugs "
            "that only they describe stay unknown. Make them again of the same files, or train again."
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


def _check_units(conditions: Sequence[Condition], known: frozenset[str]) -> None:
    """Refuse a name that ends in a dose of a unit that is none: ``dasatinib@10 spoons``."""
    for name in sorted({name for condition in conditions for name in condition.names} - known):
        dosed = _DOSE_IN.search(name)
        if dosed:
            msg = f"{name!r} looks like a dose in {dosed[1]!r}. A unit of dose is one of {list(KNOWN)}."
            raise ValueError(msg)


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
            f"nothing is known of {strangers[:10]}: neither seen in training nor described by a feature. "
            "Their prediction is what a perturbation does on average. Describe them: "
            "`spm.tl.gene_features(adata, ..., genes=[...])` or `spm.tl.drug_features(adata, ..., drugs=[...])`."
        )
        warnings.warn(text, UserWarning, stacklevel=4)
