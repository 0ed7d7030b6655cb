"""Whether genes were chosen, and described, with the help of test cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba.data.components import principal_components
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.dialects import read_label
from scperturbmamba.data.feature_tables import drug_sources
from scperturbmamba.data.findings import CLEAN, LEAK, NOT_CHECKED, WARNING, Finding, counted, merged, some
from scperturbmamba.data.likeness import EXACT, left_out_r2, most_parameters
from scperturbmamba.features.tables import KNOWN
from scperturbmamba.pp._genes import variable_genes
from scperturbmamba.tl._audited import Audited
from scperturbmamba.tl._drug_sources import STRUCTURES

_RANKED = "rank_genes_groups"  # scanpy's key, and the beginning of those of GEARS
_SELECT = "`spm.pp.select_genes(adata)` chooses from training cells"


def chosen_genes(one: Audited) -> Finding:
    """Look at how genes were marked, and at lists of changed genes of held-out conditions."""
    found = [*_marked(one), *_ranked(one)]
    return merged(found) if found else Finding(CLEAN, "no genes are marked in var, and uns has no lists of genes")


def _marked(one: Audited) -> Iterator[Finding]:
    """Compare the genes that are marked with those that training cells, and all cells, would give."""
    var = one.adata.var
    variable = var.get(_keys.HIGHLY_VARIABLE)
    selected = var.get(_keys.SELECTED)
    if variable is not None:
        yield _variable(one, variable.to_numpy(dtype=bool), made_here=selected is not None)
    if selected is not None and not _as_we_select(var):
        found = 'var["selected"] is not what spm.pp.select_genes writes, and may come from all cells'
        yield Finding(WARNING, found, _SELECT)


def _as_we_select(var: pd.DataFrame) -> bool:
    if not {_keys.HIGHLY_VARIABLE, _keys.IS_TARGET} <= set(var):
        return False
    selected, variable, target = (
        var[name].to_numpy(dtype=bool) for name in (_keys.SELECTED, _keys.HIGHLY_VARIABLE, _keys.IS_TARGET)
    )
    return bool((selected == variable).all() or (selected == (variable | target)).all())


def _variable(one: Audited, marked: NDArray[np.bool_], *, made_here: bool) -> Finding:
    n, what = int(marked.sum()), 'var["highly_variable"]'
    if n in (0, len(marked)):
        if made_here or not n:
            return Finding(CLEAN, f"{what} marks {'every gene' if n else 'no gene'}")
        return Finding(WARNING, f"{what} marks every gene left, and may come from all cells", _SELECT)
    if not _looks_logged(one.adata.X):
        found = (
            f"{what} marks {n} genes and cannot be compared, for X is not log-normalised: it may come from all cells"
        )
        return Finding(WARNING, found, _SELECT)
    honest = [variable_genes(one.adata.X[cells], n) for cells in (one.held.train, one.held.seen)]
    if any((choice == marked).all() for choice in honest):
        return Finding(CLEAN, f"{what} marks the {n} genes that vary most among training cells")
    every = variable_genes(one.adata.X, n)
    other = int((marked & ~honest[0]).sum())
    if (every == marked).all():
        found = f"{what} marks the {n} genes that vary most among all cells; training cells alone give {other} others"
        return Finding(LEAK, found, _SELECT)
    found = f"{what} was not made by spm.pp.select_genes with this split ({other} of {n} differ)"
    found += ", and may come from all cells"
    return Finding(WARNING, found, _SELECT)


def _looks_logged(matrix: Any) -> bool:
    data = matrix.data if sp.issparse(matrix) else np.asarray(matrix)
    return bool(data.size) and float(data.min()) >= 0 and float(data.max()) < 20 and bool((data != np.rint(data)).any())


def _ranked(one: Audited) -> Iterator[Finding]:
    """Look for lists of changed genes that name held-out conditions, of scanpy or of GEARS."""
    known = {*map(str, one.adata.var_names), *(name for label in one.held.names for name in _names(label))}
    held = {_names(label): label for label in one.held.test_conditions}
    for key in [key for key in one.adata.uns if str(key).startswith(_RANKED)]:
        groups = _groups(one.adata.uns[key])
        found = sorted({held[names] for names in (_read_names(group, known) for group in groups) if names in held})
        if found:
            text = (
                f'uns["{key}"] lists the changed genes of {counted(len(found), "held-out condition")} ({some(found)})'
            )
            advice = "use these genes to score, never to train or to choose what is modelled"
            yield Finding(WARNING, text, advice)


def _groups(record: Any) -> list[str]:
    names = record.get("names", record) if isinstance(record, Mapping) else record
    fields = getattr(getattr(names, "dtype", None), "names", None)
    return [str(one) for one in (fields or (names if isinstance(names, (Mapping, pd.DataFrame)) else []))]


def _read_names(label: str, known: set[str]) -> tuple[str, ...]:
    try:
        return read_label(label, known).condition.names
    except ValueError:
        return ()


def _names(label: str) -> tuple[str, ...]:
    return Condition.parse(label).names


# ---------------------------------------------------------------- gene features


def described_genes(one: Audited) -> Finding:
    """Look for features of genes and drugs that were made from the cells of held-out conditions."""
    keys = [str(key) for key in one.adata.varm if str(key).startswith(_keys.GENE_PREFIX)]
    drugs = drug_sources(one.adata)
    if not keys and not drugs:
        advice = '`spm.tl.gene_features(adata)` writes them to varm["gene_<source>"]'
        return Finding(NOT_CHECKED, 'varm has no gene features ("gene_<source>")', advice)
    return merged([*(_source(one, key) for key in keys), *(_of_drugs(one, key) for key in drugs)])


def _of_drugs(one: Audited, key: str) -> Finding:
    """Believe what was made of structures; look into tables of the user's."""
    record = one.adata.uns[key]
    source = key.removeprefix(_keys.DRUG_PREFIX)
    if source in STRUCTURES:
        return Finding(CLEAN, f"{source}: made of structures")
    if record[_keys.PARAMS]["kind"] == "sets":
        return Finding(CLEAN, f"{source}: sets")
    table = pd.DataFrame(np.asarray(record["values"]), index=list(record["drugs"]), columns=list(record["columns"]))
    table = table[table[KNOWN] > 0].drop(columns=KNOWN)
    singles = {label: _names(label)[0] for label in one.held.names if len(_names(label)) == 1}
    singles = {label: name for label, name in singles.items() if name in table.index}
    return one.copies(table.loc[list(singles.values())].set_axis(list(singles), axis=0), source)


def _source(one: Audited, key: str) -> Finding:
    """Believe the record of what was made here without test cells; look into any other table."""
    record = one.adata.uns.get(key)
    params = record.get(_keys.PARAMS, {}) if isinstance(record, Mapping) else {}
    source = key.removeprefix(_keys.GENE_PREFIX)
    if params and source in ("identity", "position"):
        return Finding(CLEAN, f"{source}: made of names and places")
    if params.get("kind") == "gene sets":
        return Finding(CLEAN, f"{source}: gene sets")
    if params.get("cells") == "reference":
        return Finding(CLEAN, f"{source}: made of other cells")
    if params.get("cells") == "controls":
        return _from_controls(one, source, int(params["n_cells"]))
    return merged(_table(one, key, record))


def _from_controls(one: Audited, source: str, n_cells: int) -> Finding:
    n_train = int((one.held.control & one.held.train).sum())
    if n_cells <= n_train:
        return Finding(CLEAN, f"{source}: made of {n_cells} control cells of the training side")
    found = f"{source}: made of {n_cells} control cells, of which the training side has {n_train} only"
    return Finding(WARNING, found, f'split first, then run `spm.tl.gene_features(adata, ["{source}"])`')


def _table(one: Audited, key: str, record: Any) -> Iterator[Finding]:
    source = key.removeprefix(_keys.GENE_PREFIX)
    measured = pd.DataFrame(one.adata.varm[key]).set_axis(one.adata.var_names, axis=0).select_dtypes("number")
    outside = record.get("targets") if isinstance(record, Mapping) else None
    table = measured if outside is None else pd.concat([measured, outside[~outside.index.isin(measured.index)]])
    if KNOWN in table:
        table = table[table[KNOWN] > 0].drop(columns=KNOWN)
    singles = {label: _names(label)[0] for label in one.held.names if len(_names(label)) == 1}
    singles = {label: name for label, name in singles.items() if name in table.index}
    yield one.copies(table.loc[list(singles.values())].set_axis(list(singles), axis=0), source)
    yield from _loadings(one, source, measured)


def _loadings(one: Audited, source: str, measured: pd.DataFrame) -> Iterator[Finding]:
    """Look for columns that the principal components of all cells give exactly, and those of training cells do not."""
    values = measured.to_numpy(np.float64)
    n_components = min(one.components.loadings.shape[1], most_parameters(len(values)))
    every = left_out_r2(values, one.components.loadings[:, :n_components])
    if not (every > EXACT).any():
        return
    training = principal_components(one.adata.X[one.held.train], n_components)
    n = int(((every > EXACT) & (left_out_r2(values, training.loadings) <= EXACT)).sum())
    if n:
        found = f"{source}: {n} of {counted(len(every), 'column')} are an affine map of the principal components"
        found += " of all cells, test included"
        yield Finding(LEAK, found, "compute the components on training cells")
