"""Tables of predictions, however another tool hands them over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData

from scperturbmamba._checks import did_you_mean
from scperturbmamba.data.control_names import is_multiplet_name, is_unlabelled_name
from scperturbmamba.data.statistics import group_sums
from scperturbmamba.data.words import words_of
from scperturbmamba.io._counts import are_counts
from scperturbmamba.io._labels import labels_of_screen


def read_source(source: Any, adata: AnnData, column: str, *, may_be_whole: bool) -> pd.DataFrame:
    """Return conditions × genes, the index canonical labels of the screen, in the order in which they come.

    Raises
    ------
    KeyError
        The column is not there.
    ValueError
        A label or a vector does not fit, there are none, or whole numbers stand where they may not.
    TypeError
        The source is something else.
    FileNotFoundError
        There is no such file.
    """
    if isinstance(source, (str, Path)):
        return _from_cells(_read_file(Path(source)), adata, column, may_be_whole=may_be_whole)
    if isinstance(source, AnnData):
        return _from_cells(source, adata, column, may_be_whole=may_be_whole)
    if isinstance(source, Mapping):
        return _from_vectors(source, adata, may_be_whole=may_be_whole)
    msg = (
        f"`source` must be an AnnData, a path to an .h5ad, or a mapping of label to vector; found "
        f"{type(source).__name__}. A table with a row per condition is `dict(table.iterrows())`."
    )
    raise TypeError(msg)


def _read_file(path: Path) -> AnnData:
    if not path.is_file():
        msg = f"there is no file {str(path)!r}. Give the path of an .h5ad, an AnnData, or a mapping of label to vector."
        raise FileNotFoundError(msg)
    return anndata.read_h5ad(path)


def _from_cells(source: AnnData, adata: AnnData, column: str, *, may_be_whole: bool) -> pd.DataFrame:
    """Average the rows of each condition; a row without a label is left out."""
    if column not in source.obs:
        msg = f"`column={column!r}` names no column of `source.obs`.{did_you_mean(column, source.obs.columns)}"
        raise KeyError(msg)
    if source.X is None or not source.var_names.is_unique:
        found = "no `X`" if source.X is None else "gene names that occur twice. Call `source.var_names_make_unique()`"
        msg = f"`source` must hold the predictions in `X`, and each gene once; found {found}."
        raise ValueError(msg)
    matrix = source.X[:] if source.isbacked else source.X
    _check_scale(matrix, may_be_whole=may_be_whole)
    words = words_of(source.obs[column])
    named = [word for word in words.unique() if word in adata.var_names or not _says_nothing(word)]
    _check_some(named)
    group, labels = pd.factorize(words.map(labels_of_screen(named, adata)))
    mean = group_sums(matrix, group, len(labels)) / np.bincount(group[group >= 0])[:, None]
    return pd.DataFrame(mean.astype(np.float32), index=list(labels), columns=source.var_names)


def _says_nothing(word: str) -> bool:
    return is_unlabelled_name(word) or is_multiplet_name(word)


def _from_vectors(source: Mapping[str, Any], adata: AnnData, *, may_be_whole: bool) -> pd.DataFrame:
    """Put vectors below each other, over the genes that all of them have."""
    _check_some(list(source))
    labels = labels_of_screen([str(label) for label in source], adata)
    twice = [found for found, n in Counter(labels.values()).items() if n > 1]
    if twice:
        both = [label for label, found in labels.items() if found == twice[0]]
        msg = f"`source` must hold each condition once; found {both} for {twice[0]!r}. Leave out all but one."
        raise ValueError(msg)
    vectors = [_as_series(label, vector, adata.var_names) for label, vector in source.items()]
    genes = vectors[0].index
    for vector in vectors:
        genes = genes if genes.equals(vector.index) else genes[genes.isin(vector.index)]
    values = np.stack([vector.reindex(genes).to_numpy(np.float32) for vector in vectors])
    _check_scale(values, may_be_whole=may_be_whole)
    return pd.DataFrame(values, index=list(labels.values()), columns=genes)


def _as_series(label: str, vector: Any, genes: pd.Index) -> pd.Series:
    if isinstance(vector, pd.Series):
        if not vector.index.is_unique:
            twice = vector.index[vector.index.duplicated()]
            msg = f"the prediction of {label!r} must hold each gene once; {list(twice[:3])} occur twice. Drop copies."
            raise ValueError(msg)
        return vector
    values = np.asarray(vector)
    if values.shape != (len(genes),):
        msg = (
            f"the prediction of {label!r} must hold one number per gene of `adata`, {len(genes)}; found the shape "
            f"{values.shape}. Pass a Series indexed by gene where the genes are others."
        )
        raise ValueError(msg)
    return pd.Series(values, index=genes)


def _check_some(labels: Sequence[Any]) -> None:
    if not labels:
        msg = "`source` must hold at least one condition; found none with a label. Name the `column=` of the labels."
        raise ValueError(msg)


def _check_scale(matrix: Any, *, may_be_whole: bool) -> None:
    if not may_be_whole and 0 not in matrix.shape and are_counts(matrix) and matrix.max() > 1:
        msg = (
            "expected predicted expression on the scale of `adata.X`, log(1 + counts per 10,000); found whole numbers, "
            "as raw counts are. Run `spm.pp.normalize(source)` first."
        )
        raise ValueError(msg)
