"""Predict with a trained predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_whole
from scperturbmamba.data.responses import EFFECT
from scperturbmamba.models.terms import Terms
from scperturbmamba.models.trained import Trained
from scperturbmamba.models.uncertainty import LEVELS
from scperturbmamba.tl._new_contexts import bring_contexts
from scperturbmamba.tl._requests import later_features, read_requests, resolve_context
from scperturbmamba.tl._stored import find_predictor
from scperturbmamba.tl._support import row_table


def predict(
    adata: AnnData,
    perturbations: str | Sequence[str],
    *,
    context: str | None = None,
    level: float = 0.9,
    n_cells: int | None = None,
    predictor: AnnData | str | Path | None = None,
    random_state: int = 0,
    key: str = _keys.PREDICTOR,
) -> AnnData:
    """Predict the transcriptome after perturbations, seen or unseen, measured or not.

    Parameters
    ----------
    adata
        The screen that carries the predictor in ``uns[key]``; it is not changed.
    perturbations
        A label or several: ``"KLF1"``, ``"CBL+CNN1"``, ``["TP53", "MYC+TP53"]``, ``"dasatinib@10"`` in the unit of the
        screen or ``"dasatinib@500 nM"``, ``"MYC:CRISPRa"``. Aliases and the Ensembl ids in ``var`` are resolved to the
        names of the screen; a condition asked for twice is predicted once; a dose of 0 is the control.
    context
        Level of the training ``context=`` to predict in; the default is the only one, or all of them in turn. With
        ``predictor=`` also a level of that column in ``adata`` that the predictor was not trained in, of which
        ``adata`` holds control cells; the default is then all of those. Where the training told no contexts apart,
        ``adata`` with other control cells is a new one.
    level
        Share of measurements, as deep as those of the training screen, that ``lower`` and ``upper`` shall hold; from
        .01 to .99.
    n_cells
        Draw so many cells of raw counts per condition from the negative binomial instead of one expected profile; for
        a training with ``net={"head": "nb"}``.
    predictor
        Where the predictor is, if not in ``adata``: another AnnData, or a folder of :func:`save_predictor`. Genes are
        matched by name; the control expression of those that ``adata`` lacks is that of the training.
    random_state
        Seed of the sampled cells.
    key
        Name of the slot with the predictor.

    Returns
    -------
    AnnData of conditions (or sampled cells) × trained genes
        ``X``
            Predicted expression in the training scale, log(1 + counts per 10,000), not negative; raw counts where
            ``n_cells`` is given; the effect itself after a training with ``response="effect"``.
        ``layers["control"]``, ``["mean"]``, ``["core"]``, ``["residual"]``, ``["delta"]``
            The mean of the training control cells, with less noise: in all measured effects alike lies the noise of
            these cells, and what is found of it is taken out of both; the mean effect; what the knowledge core says
            beside it; what passes the gate of the network; the effect, which is the sum of the last three. A network
            without a core says all as residual.
        ``layers["sd"]``, ``["lower"]``, ``["upper"]``
            Standard deviation of the difference between a new measurement and ``delta``, and the interval of ``delta``
            at ``level``; NaN where nothing is known of it, as of calls. For genes never perturbed they are calibrated
            on training genes left out (conformal prediction over perturbations).
        ``obs``
            ``perturbation``, ``context``, ``seen`` (the condition was in training), ``n_train_cells``, ``support``
            (``"seen"``, ``"parts seen"``, ``"features"``, ``"none"``: the mean effect), ``measured`` (every part is a
            trained gene), ``nearest`` (training perturbations that the new parts are most like), ``missing_sources``
            (feature sources that do not know one of them), ``expected_error`` (root mean square of ``sd``).
        ``obsm["interval_multiples"]``
            (conditions × levels): how many ``sd`` make the interval of each level.
        ``uns["predictor"]["params"]``
            Those of the training.

    Raises
    ------
    KeyError
        There is no predictor.
    ValueError
        A label cannot be read, the context is unknown, or ``n_cells`` asks a linear head for counts.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.train_predictor(adata, preset="fast")
    >>> spm.tl.predict(adata, ["TP53", "MYC+TP53"]).shape
    (2, 40)
    """
    model, params = find_predictor(adata, predictor, key)
    if n_cells is not None:
        check_whole(n_cells, "n_cells")
    if round(level, 2) not in LEVELS:
        msg = f"`level` is a share from {LEVELS[0]} to {LEVELS[-1]}, such as 0.9; found {level!r}."
        raise ValueError(msg)
    model.learn_features(later_features(adata, model))
    new = [] if predictor is None else bring_contexts(adata, model, params)
    conditions = read_requests(adata, as_names(perturbations), model)
    places = new if new and context is None else resolve_context(model, context)

    found = [model.terms(conditions, context=place) for place in places]
    control = np.repeat(model.control[places], len(conditions), axis=0)
    obs = row_table(model, [(condition, place) for place in places for condition in conditions])
    counts = None
    if n_cells is not None:
        counts = [model.sample(conditions, int(n_cells), context=one, random_state=random_state) for one in places]

    whole = _as_adata(model, obs, found, control, level, {_keys.PREDICTOR: {_keys.PARAMS: params}})
    return whole if counts is None else _as_cells(whole, np.concatenate(counts))


def _as_adata(
    model: Trained,
    obs: pd.DataFrame,
    found: Sequence[Terms],
    control: NDArray[np.float32],
    level: float,
    uns: dict[str, Any],
) -> AnnData:
    names = {"mean": "mean", "core": "core", "residual": "residual", _keys.DELTA: "delta", _keys.SD: "sd"}
    layers = {name: np.concatenate([getattr(one, own) for one in found]) for name, own in names.items()}
    multiples = np.concatenate([one.multiples for one in found])
    half = multiples[:, [LEVELS.index(round(level, 2))]] * layers[_keys.SD]
    layers |= {
        _keys.CONTROL_LAYER: control,
        "lower": (layers[_keys.DELTA] - half).astype(np.float32),
        "upper": (layers[_keys.DELTA] + half).astype(np.float32),
    }
    effects_only = uns[_keys.PREDICTOR][_keys.PARAMS].get("response") == EFFECT
    return AnnData(
        layers[_keys.DELTA] if effects_only else np.maximum(control + layers[_keys.DELTA], 0),
        obs=obs.assign(expected_error=np.sqrt(np.square(layers[_keys.SD], dtype=np.float64).mean(1))),
        var=pd.DataFrame(index=pd.Index(model.frame.encoder.genes)),
        obsm={_keys.MULTIPLES: pd.DataFrame(multiples, index=obs.index, columns=[f"{one:.2f}" for one in LEVELS])},
        layers=layers,
        uns=uns,
    )


def _as_cells(whole: AnnData, drawn: NDArray[np.float32]) -> AnnData:
    """Return sampled counts (conditions, cells, genes) as cells, each with the effect it was drawn from."""
    n = drawn.shape[1]
    row = np.repeat(np.arange(whole.n_obs), n)
    obs = whole.obs.iloc[row].copy()
    obs.index = [f"{name} #{number + 1}" for name in whole.obs_names for number in range(n)]
    layers = {name: whole.layers[name][row] for name in (_keys.DELTA, _keys.CONTROL_LAYER)}
    return AnnData(drawn.reshape(-1, drawn.shape[2]), obs=obs, var=whole.var, layers=layers, uns=dict(whole.uns))
