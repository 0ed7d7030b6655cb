"""Train a predictor on a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_in_memory, check_params
from scperturbmamba._settings import settings
from scperturbmamba.data.responses import EXPRESSION, read_bundle
from scperturbmamba.engine.config import NetConfig, TrainConfig, resolve
from scperturbmamba.models.checkpoint import pack
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.tl._progress import training_callbacks
from scperturbmamba.tl._report import history_table, training_report
from scperturbmamba.tl._stored import to_uns


def train_predictor(
    adata: AnnData,
    *,
    head: str | None = None,
    context: str | None = None,
    covariates: Sequence[str] = (),
    net: NetConfig | Mapping[str, Any] | None = None,
    train: TrainConfig | Mapping[str, Any] | None = None,
    response: str = EXPRESSION,
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
        a dispersion per gene, negative-binomial likelihood of raw counts with each cell's size factor. The default is
        that of ``net``, and linear without one.
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
    response
        ``"expression"``, or ``"effect"`` where ``X`` holds effects (log fold changes, calls; NaN where there is a gap)
        with ``layers["weight"]`` if some count more than others; no control is needed then.
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

    bundle = read_bundle(
        adata,
        response=response,
        split=key,
        context=context,
        covariates=as_names(covariates),
        features=None,
        with_cells=network.head == "nb",
    )
    random_state = int(random_state)
    model = BiMamba(network, training, random_state=random_state, device=settings.device, engine=settings.engine)
    model.fit(bundle, callbacks=training_callbacks(training.epochs))

    params: dict[str, Any] = {
        "head": network.head,
        "context": context,
        "response": response,
        "covariates": as_names(covariates),
        "net": network.model_dump_json(),
        "train": training.model_dump_json(),
        "random_state": random_state,
        "split": key,
        "features": sorted(model.encoder.provenance),
    }
    adata.uns[key_added] = {
        _keys.PARAMS: check_params(params),
        "history": history_table(model),
        "report": training_report(model, bundle),
        "checkpoint": to_uns(pack(model, params)),
    }


def _with_head(net: NetConfig | Mapping[str, Any] | None, head: str | None) -> NetConfig:
    if head is None:
        return resolve(NetConfig, net, "net")
    given = net.model_dump() if isinstance(net, NetConfig) else dict(net or {})
    return resolve(NetConfig, {**given, "head": head}, "net")
