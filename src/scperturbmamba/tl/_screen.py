"""Predict very many perturbations with one predictor."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from tqdm.auto import tqdm

from scperturbmamba import _keys
from scperturbmamba._checks import as_names
from scperturbmamba._settings import settings
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.models.packing import predictor_name
from scperturbmamba.models.trained import Trained
from scperturbmamba.tl._effect_file import EffectFile
from scperturbmamba.tl._new_contexts import bring_contexts
from scperturbmamba.tl._requests import later_features, read_requests, resolve_context
from scperturbmamba.tl._screen_doses import at_doses, known_drugs
from scperturbmamba.tl._stored import find_predictor
from scperturbmamba.tl._support import row_table


def screen(
    adata: AnnData,
    perturbations: str | Sequence[str] | None = None,
    *,
    out: str | Path | None = None,
    doses: Sequence[float] | None = None,
    context: str | Sequence[str] | None = None,
    predictor: AnnData | str | Path | None = None,
    key: str = _keys.PREDICTOR,
) -> AnnData:
    """Screen in silico: predict the effects of a long list of genes or of drugs at several doses, in every context.

    What perturbations share is computed once, and results go to a file as they come: a call that was interrupted, with
    the same predictor and the same list, goes on where it stopped.

    Parameters
    ----------
    adata
        The screen that carries the predictor in ``uns[key]``; it is not changed.
    perturbations
        Labels, as in :func:`predict`; the default is every measured gene, or with ``doses`` every drug that the
        predictor was trained on or that ``adata`` describes (:func:`drug_features`).
    out
        An ``.h5ad`` to write. None keeps everything in memory.
    doses
        Doses, in the unit of the screen, at which each drug that is asked for without one is predicted; 0 is the
        control, predicted once. Two such drugs in one label are crossed. Genes, and drugs that have a dose, stay as
        they are.
    context
        Level of the training ``context=`` to predict in, or several; the default is the only one, or all of them in
        turn.
    predictor
        Where the predictor is, if not in ``adata``: another AnnData, or a folder of :func:`save_predictor`.
    key
        Name of the slot with the predictor.

    Returns
    -------
    AnnData of conditions × trained genes, backed by the file where ``out`` is given
        ``X``
            Predicted effects, changes of log(1 + counts per 10,000), as ``layers["delta"]`` of :func:`predict`.
        ``obs``
            What :func:`predict` says of each row; ``dose`` (NaN where a condition has none, or several);
            ``predictor`` names the weights that made the row.
        ``varm["control"]``
            Genes × contexts: the control expression that the effects add to.
        ``uns["predictor"]["params"]``
            Those of the training.

    Raises
    ------
    KeyError
        There is no predictor.
    ValueError
        A label cannot be read, a context is unknown, ``doses`` holds no dose or meets no drug, or the unfinished file
        at ``out`` is of another screen.
    FileExistsError
        ``out`` is there already.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.gene_features(adata, ["sets"], files={"sets": adata.uns["toy"]["gene_sets"]})
    >>> spm.tl.train_predictor(adata, preset="fast")
    >>> spm.tl.screen(adata, ["TP53", "MYC", "MYC+TP53"]).shape
    (3, 40)
    """
    model, params = find_predictor(adata, predictor, key)
    tables = later_features(adata, model)
    model.learn_features(tables)
    new = [] if predictor is None else bring_contexts(adata, model, params)
    frame = model.frame
    drugs = [] if doses is None else known_drugs(frame, tables)
    default = [Part(name).label for name in drugs] if doses is not None else list(frame.encoder.genes)
    conditions = read_requests(adata, default if perturbations is None else as_names(perturbations), model)
    if doses is not None:
        conditions = at_doses(conditions, doses, drugs, frame.encoder.genes)
    places = [resolve_context(model, one) for one in ([None] if context is None else dict.fromkeys(as_names(context)))]
    levels = new if new and context is None else [level for one in places for level in one]

    rows = [(condition, level) for level in levels for condition in conditions]
    control = pd.DataFrame(model.control.T, index=list(frame.encoder.genes), columns=list(frame.contexts))
    result = AnnData(
        obs=row_table(model, rows).assign(
            **{_keys.DOSE: [condition.dose for condition, _ in rows], "predictor": predictor_name(model)}
        ),
        var=pd.DataFrame(index=pd.Index(frame.encoder.genes)),
        varm={"control": control},
        uns={_keys.PREDICTOR: {_keys.PARAMS: params}},
    )
    if out is None:
        result.X = np.concatenate(list(_effects(model, conditions, levels, start=0)))
        return result
    with EffectFile(Path(out), result.shape, fingerprint=_fingerprint(result.obs)) as file:
        for effects in _effects(model, conditions, levels, start=file.done):
            file.write(effects)
        file.finish(result)
    return anndata.read_h5ad(out, backed="r")


def _effects(
    model: Trained, conditions: Sequence[Condition], levels: Sequence[int], *, start: int
) -> Iterator[NDArray[np.float32]]:
    """Yield effects a few rows at a time, from a row on."""
    total = len(levels) * len(conditions)
    with tqdm(desc="screen", unit="condition", total=total, initial=start, disable=not settings.progress) as bar:
        for number, level in enumerate(levels):
            left = conditions[max(0, start - number * len(conditions)) :]
            if not left:
                continue
            for effects in model.stream(left, context=level):
                bar.update(len(effects))
                yield effects


def _fingerprint(obs: pd.DataFrame) -> str:
    """Return a hash of what decides the rows: the predictor, and what is asked of it."""
    words: Any = "|".join([*obs.index, *obs["predictor"].unique(), *obs["context"].astype(str)])
    return hashlib.sha256(words.encode()).hexdigest()
