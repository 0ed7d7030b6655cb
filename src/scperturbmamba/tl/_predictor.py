"""Train a predictor on a screen, and predict with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_in_memory, check_key, check_params, check_positive
from scperturbmamba._settings import settings
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable, feature_sources, read_features
from scperturbmamba.engine.config import NetConfig, TrainConfig, resolve
from scperturbmamba.models.checkpoint import Checkpoint, load_folder, pack, save_folder, unpack
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.tl._progress import training_callbacks
from scperturbmamba.tl._report import support, training_report
from scperturbmamba.tl._requests import read_requests, resolve_context

_DESCRIPTION, _ARRAYS = "description", "arrays"


def train_predictor(
    adata: AnnData,
    *,
    head: str = "linear",
    context: str | None = None,
    covariates: Sequence[str] = (),
    net: NetConfig | Mapping[str, Any] | None = None,
    train: TrainConfig | Mapping[str, Any] | None = None,
    logger: Any = None,
    random_state: int = 0,
    key: str = _keys.SPLIT,
    key_added: str = _keys.PREDICTOR,
) -> None:
    """Train the network to predict the effect of perturbations on every gene.

    One condition token and a token per gene pass through bidirectional Mamba-2 layers, once per condition and step.
    The validation conditions decide which weights are kept; the test conditions are never looked at. Training can be
    interrupted: the best weights so far are kept.

    Parameters
    ----------
    adata
        Cells × genes with labels, log-normalised ``X``, a split, and any ``varm["gene_*"]``.
    head
        ``"linear"``: a change of the log-normalised mean per gene, squared error. ``"nb"``: a change of the rate and
        a dispersion per gene, negative-binomial likelihood of raw counts with each cell's size factor.
    context
        Column of ``obs`` (cell line, batch) whose levels have control cells of their own.
    covariates
        Columns of ``obs`` that are averaged per condition and told to the condition token, such as
        ``"total_counts"``, ``"n_genes_by_counts"`` or ``"batch"``. Predictions use the average control cell.
    net
        The network: a :class:`~scperturbmamba.engine.config.NetConfig` or its fields, such as
        ``{"mixer": "lstm", "layers": 4}``.
    train
        Training: a :class:`~scperturbmamba.engine.config.TrainConfig` or its fields, such as ``{"epochs": 50}``.
    logger
        A Lightning logger.
    random_state
        Seed; the same seed gives the same numbers on one machine.
    key
        Column of ``obs`` with the split.
    key_added
        Name of the slot.

    Returns
    -------
    None
        Writes ``uns[key_added]``: ``params``; ``history``, a table of a row per validation (``epoch``, ``step``,
        ``train_loss``, ``val_loss``, ``train_r2``, ``val_r2``, ``lr``, ``seconds``), where R² is against the training
        mean of each gene; ``report``; ``checkpoint``, all that :func:`predict` needs.

    Raises
    ------
    KeyError
        A slot is missing; the message names the call that makes it.
    ValueError
        A setting is out of range, ``X`` is not log-normalised, or there are no control cells.
    RuntimeError
        The loss became NaN; the message names the batch and the remedy.

    References
    ----------
    Dao and Gu (2024), Transformers are SSMs. Ahlmann-Eltze et al. (2025), Nature Methods.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.train_predictor(adata, net={"width": 8, "head_width": 8, "state": 4}, train={"epochs": 2})
    >>> list(adata.uns["predictor"]["history"].columns[:3])
    ['epoch', 'step', 'train_loss']
    """
    check_in_memory(adata, function="spm.tl.train_predictor")
    network = _with_head(net, head)
    training = resolve(TrainConfig, train, "train")

    bundle = Bundle.from_adata(
        adata,
        split=key,
        context=context,
        covariates=as_names(covariates),
        features=None,
        with_cells=network.head == "nb",
    )
    model = BiMamba(network, training, random_state=random_state, device=settings.device, engine=settings.engine)
    model.fit(bundle, callbacks=training_callbacks(training.epochs), logger=logger)

    params = {
        "head": network.head,
        "context": context,
        "covariates": as_names(covariates),
        "net": network.model_dump_json(),
        "train": training.model_dump_json(),
        "random_state": random_state,
        "split": key,
        "features": sorted(model.encoder.provenance),
    }
    adata.uns[key_added] = {
        _keys.PARAMS: check_params(params),
        "history": _history_table(model),
        "report": training_report(model, bundle),
        "checkpoint": _to_uns(pack(model)),
    }


def predict(
    adata: AnnData,
    perturbations: str | Sequence[str],
    *,
    context: str | None = None,
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
        A label or several: ``"KLF1"``, ``"CBL+CNN1"``, ``["TP53", "MYC+TP53"]``. Aliases and Ensembl ids are resolved
        to the names of the screen.
    context
        Level of the training ``context=`` to predict in; the default is the only one, or all of them in turn.
    n_cells
        Draw so many cells of raw counts per condition from the negative binomial (``head="nb"`` only) instead of one
        expected profile.
    predictor
        Where the predictor is, if not in ``adata``: another AnnData, or a folder of :func:`save_predictor`.
    random_state
        Seed of the sampled cells.
    key
        Name of the slot with the predictor.

    Returns
    -------
    AnnData of conditions (or sampled cells) × trained genes
        ``X``
            Predicted expression in the training scale, log(1 + counts per 10,000), not negative; raw counts where
            ``n_cells`` is given.
        ``layers["delta"]``, ``layers["control"]``
            Predicted effect, and the mean of the training control cells it adds to.
        ``obs``
            ``perturbation``, ``context``, ``seen`` (the condition was in training), ``n_train_cells``, ``support``
            (``"seen"``, ``"parts seen"``, ``"features"``, ``"none"``).
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
    >>> spm.tl.train_predictor(adata, net={"width": 8, "head_width": 8, "state": 4}, train={"epochs": 2})
    >>> spm.tl.predict(adata, ["TP53", "MYC+TP53"]).shape
    (2, 40)
    """
    model, params = _find_predictor(adata, predictor, key)
    if n_cells is not None:
        check_positive(n_cells, "n_cells")
    model.learn_features(_later_features(adata, model))
    conditions = read_requests(adata, as_names(perturbations), model)
    levels = resolve_context(model, context)

    rows = [(condition, level) for level in levels for condition in conditions]
    delta = np.concatenate([model.predict(conditions, context=level) for level in levels])
    control = np.repeat(model.control[levels], len(conditions), axis=0)
    obs = _row_table(model, rows)
    counts = None
    if n_cells is not None:
        counts = [model.sample(conditions, n_cells, context=level, random_state=random_state) for level in levels]

    return _as_adata(model, obs, delta, control, counts, {_keys.PREDICTOR: {_keys.PARAMS: params}})


def save_predictor(adata: AnnData, folder: str | Path, *, overwrite: bool = False, key: str = _keys.PREDICTOR) -> None:
    """Write the predictor to a folder, as JSON and safetensors, to share it or to keep ``adata`` small.

    Parameters
    ----------
    adata
        The screen that carries the predictor in ``uns[key]``.
    folder
        Where to; written under a temporary name and renamed.
    overwrite
        Replace what is there.
    key
        Name of the slot with the predictor.

    Returns
    -------
    None
        Nothing in ``adata`` changes.

    Raises
    ------
    KeyError
        There is no predictor.
    FileExistsError
        The folder is there and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile, scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.train_predictor(adata, net={"width": 8, "head_width": 8, "state": 4}, train={"epochs": 1})
    >>> folder = tempfile.mkdtemp() + "/predictor"
    >>> spm.tl.save_predictor(adata, folder)
    >>> spm.tl.predict(adata, "TP53", predictor=folder).n_vars
    40
    """
    check_key(adata, "uns", key, made_by="spm.tl.train_predictor")
    save_folder(_from_uns(adata.uns[key]["checkpoint"]), Path(folder), overwrite=overwrite)


def load_predictor(adata: AnnData, folder: str | Path, *, key_added: str = _keys.PREDICTOR) -> None:
    """Read a predictor from a folder into ``adata``, whose genes must be those it was trained on.

    Parameters
    ----------
    adata
        Cells × genes.
    folder
        A folder of :func:`save_predictor`.
    key_added
        Name of the slot.

    Returns
    -------
    None
        Writes ``uns[key_added]``: ``params``, ``history``, ``checkpoint``.

    Raises
    ------
    FileNotFoundError
        The folder holds no predictor.
    ValueError
        Genes of the predictor are missing in ``adata``, or it was saved by a newer version.

    Examples
    --------
    See :func:`save_predictor`.
    """
    checkpoint = load_folder(Path(folder))
    model = unpack(checkpoint)
    _check_genes(adata, model, str(folder))
    adata.uns[key_added] = {
        _keys.PARAMS: _params_of(model),
        "history": _history_table(model),
        "checkpoint": _to_uns(checkpoint),
    }


def _with_head(net: NetConfig | Mapping[str, Any] | None, head: str) -> NetConfig:
    if isinstance(net, NetConfig):
        return resolve(NetConfig, {**net.model_dump(), "head": head}, "net")
    return resolve(NetConfig, {**dict(net or {}), "head": head}, "net")


def _history_table(model: BiMamba) -> pd.DataFrame:
    table = pd.DataFrame(model.history.rows)
    whole = [name for name in ("epoch", "step") if name in table]
    return table.astype(dict.fromkeys(whole, int)).set_index(table.index.astype(str))


def _to_uns(checkpoint: Checkpoint) -> dict[str, Any]:
    return {_DESCRIPTION: checkpoint.description, _ARRAYS: dict(checkpoint.arrays)}


def _from_uns(stored: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(str(stored[_DESCRIPTION]), stored[_ARRAYS])


def _params_of(model: BiMamba) -> dict[str, Any]:
    return {"head": model.net.head, "net": model.net.model_dump_json(), "random_state": model.random_state}


def _find_predictor(adata: AnnData, predictor: AnnData | str | Path | None, key: str) -> tuple[BiMamba, dict[str, Any]]:
    if isinstance(predictor, (str, Path)):
        model = unpack(load_folder(Path(predictor)))
        _check_genes(adata, model, str(predictor))
        params = _params_of(model)
    else:
        carrier = adata if predictor is None else predictor
        check_key(carrier, "uns", key, made_by="spm.tl.train_predictor")
        model = unpack(_from_uns(carrier.uns[key]["checkpoint"]))
        _check_genes(adata, model, f"uns[{key!r}]")
        params = dict(carrier.uns[key][_keys.PARAMS])
    model.device, model.engine = settings.device, settings.engine
    return model, params


def _later_features(adata: AnnData, model: BiMamba) -> tuple[FeatureTable, ...]:
    """Return the tables of the sources used in training, where ``adata`` still has them as they were."""
    sources = [source for source in feature_sources(adata) if source in model.encoder.provenance]
    if set(sources) != set(model.encoder.provenance):
        return ()
    return read_features(adata, sources, np.asarray(adata.var_names.isin(model.encoder.genes)))


def _check_genes(adata: AnnData, model: BiMamba, where: str) -> None:
    missing = sorted(set(model.encoder.genes) - set(map(str, adata.var_names)))
    if missing:
        msg = (
            f"the predictor in {where} was trained on {len(model.encoder.genes)} genes; {len(missing)} of them are not "
            f"in `adata`, such as {missing[:3]}. Bring `adata` to the same gene names, or train again."
        )
        raise ValueError(msg)


def _row_table(model: BiMamba, rows: Sequence[tuple[Condition, int]]) -> pd.DataFrame:
    labels = [condition.without_kinds().label for condition, _ in rows]
    names = [model.contexts[level] for _, level in rows]
    cells = [model.seen.get(key, 0) for key in zip(labels, names)]
    several = len(set(names)) > 1
    index = [f"{label} | {name}" if several else label for label, name in zip(labels, names)]
    return pd.DataFrame(
        {
            _keys.PERTURBATION: pd.Categorical(labels),
            "context": pd.Categorical(names),
            "seen": [n > 0 for n in cells],
            "n_train_cells": cells,
            "support": pd.Categorical([support(model, condition, n) for (condition, _), n in zip(rows, cells)]),
        },
        index=index,
    )


def _as_adata(
    model: BiMamba,
    obs: pd.DataFrame,
    delta: NDArray[np.float32],
    control: NDArray[np.float32],
    counts: Sequence[NDArray[np.float32]] | None,
    uns: dict[str, Any],
) -> AnnData:
    var = pd.DataFrame(index=pd.Index(model.encoder.genes))
    if counts is None:
        layers = {_keys.DELTA: delta, _keys.CONTROL_LAYER: control}
        return AnnData(np.maximum(control + delta, 0), obs=obs, var=var, layers=layers, uns=uns)
    drawn = np.concatenate(counts)
    n = drawn.shape[1]
    cells = obs.loc[np.repeat(obs.index, n)].copy()
    cells.index = [f"{name} #{number + 1}" for name in obs.index for number in range(n)]
    layers = {_keys.DELTA: np.repeat(delta, n, axis=0), _keys.CONTROL_LAYER: np.repeat(control, n, axis=0)}
    return AnnData(drawn.reshape(-1, drawn.shape[2]), obs=cells, var=var, layers=layers, uns=uns)
