"""The ridge of scModelForge's tutorial, for comparison with its numbers: its input holds the answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import Ridge

from scperturbmamba._checks import check_key
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.profiles import group_rows
from scperturbmamba.data.statistics import group_sums

_ALPHA, _WIDTH = 1.0, 50  # as published; the width where no embedding is given


def embedding_ridge(
    adata: AnnData, bundle: Bundle, wanted: pd.DataFrame, *, context: str | None, embedding: str
) -> NDArray[np.float32]:
    """Regress effects on the mean embedding of a condition's own perturbed cells.

    A held-out condition is predicted from its own cells, which is a leak: the score says how well an embedding keeps
    what it was given, not how well an effect is foreseen.

    Parameters
    ----------
    adata
        Cells, the held-out ones included.
    bundle
        Training and validation effects; both train.
    wanted
        ``label`` and ``context`` of the rows to predict.
    context
        Column of ``obs`` with the contexts.
    embedding
        Name in ``obsm``; empty for principal components of ``X`` (50 at most).
    """
    rows, group = group_rows(adata, context=context)
    if embedding:
        check_key(adata, "obsm", embedding, made_by="the embedding of your model")
        cells = np.asarray(adata.obsm[embedding], dtype=np.float64)
    else:
        width = min(_WIDTH, adata.n_vars - 1, adata.n_obs - 1)
        cells = TruncatedSVD(width, random_state=0).fit_transform(adata.X)
    n = np.bincount(group[group >= 0], minlength=len(rows))
    means = group_sums(cells, group, len(rows)) / n[:, None]
    place = {key: number for number, key in enumerate(zip(rows["label"], rows["context"]))}
    labels = [one.without_kinds().label for one in bundle.conditions]
    known = [(label, bundle.contexts[level]) for label, level in zip(labels, bundle.context)]
    trained = np.array([key in place for key in known])
    x = means[[place[key] for key, here in zip(known, trained) if here]]
    model = Ridge(alpha=_ALPHA).fit(x, bundle.delta[trained])
    found = model.predict(means[[place[key] for key in zip(wanted["label"], wanted["context"])]])
    return np.asarray(found, np.float32)
