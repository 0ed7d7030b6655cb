"""The tables that ``tl.benchmark`` and ``tl.evaluate`` leave, as plots need them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_choice, check_key
from scperturbmamba._judging import ALL_GENES, HEADLINE

_MADE_BY = "spm.tl.evaluate` or `spm.tl.benchmark"


def read_table(adata: AnnData, name: str, key: str | None) -> pd.DataFrame:
    """Return a table of a judgement; without a key, of whichever slot is there.

    Raises
    ------
    KeyError
        There is no judgement, or it was made before such tables were.
    """
    if key is None:
        key = _keys.EVALUATION if _keys.EVALUATION in adata.uns else _keys.BENCHMARK
    check_key(adata, "uns", key, made_by=_MADE_BY)
    if name not in adata.uns[key]:
        msg = f"`adata.uns[{key!r}]` has no {name!r}. Run `{_MADE_BY}` again. Found: {sorted(adata.uns[key])}."
        raise KeyError(msg)
    table: pd.DataFrame = adata.uns[key][name]
    return table.reset_index(drop=True)


def per_perturbation(scores: pd.DataFrame, metric: str, *, genes: str = ALL_GENES) -> pd.DataFrame:
    """Return perturbations × models of one metric, averaged over seeds, splits and contexts, in the given order."""
    some = scores[(scores["metric"] == metric) & (scores["genes"] == genes)]
    means = some.groupby(["perturbation", "model"], sort=False, observed=True)["value"].mean().unstack("model")
    return means.reindex(columns=list(dict.fromkeys(scores["model"])))


def chosen_metrics(table: pd.DataFrame, metrics: str | Sequence[str] | None) -> list[str]:
    """Return the metrics asked for, or those of the headline that are there.

    Raises
    ------
    ValueError
        A metric is not in the table.
    """
    known = list(dict.fromkeys(table["metric"]))
    if metrics is None:
        return [name for name in HEADLINE if name in known]
    names = as_names(metrics)
    for name in names:
        check_choice(name, known, "metrics")
    return names


def chosen_models(known: Sequence[str], model: str | Sequence[str] | None) -> list[str]:
    """Return the models asked for, or all.

    Raises
    ------
    ValueError
        A model is not there.
    """
    names = list(known) if model is None else as_names(model)
    for name in names:
        check_choice(name, known, "model")
    return names
