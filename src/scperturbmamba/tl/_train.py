"""Train a predictor on a screen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import as_names, check_choice, check_in_memory, check_params
from scperturbmamba._settings import settings
from scperturbmamba.data.control_groups import control_groups
from scperturbmamba.data.responses import EXPRESSION, read_bundle
from scperturbmamba.engine.config import NetConfig, TrainConfig, resolve
from scperturbmamba.models.packing import pack
from scperturbmamba.models.trained import Trained
from scperturbmamba.tl._progress import named_callbacks
from scperturbmamba.tl._report import history_table, show_report, training_report
from scperturbmamba.tl._stored import to_uns

_DEFAULT, _FAST = "default", "fast"


def train_predictor(
    adata: AnnData,
    *,
    preset: str = _DEFAULT,
    context: str | None = None,
    covariates: Sequence[str] = (),
    net: NetConfig | Mapping[str, Any] | None = None,
    train: TrainConfig | Mapping[str, Any] | None = None,
    response: str = EXPRESSION,
    random_state: int = 0,
    key: str = _keys.SPLIT,
    key_added: str = _keys.PREDICTOR,
) -> None:
    """Train a predictor of the effect of perturbations on every gene, and say whether it beats the mean.

    The effect is the sum of three terms: the mean effect; the knowledge core, that is measured effects drawn to the
    mean as far as they are noise, and for genes never perturbed what their features say; and what a network of one
    condition token and a token per gene, through bidirectional Mamba-2 layers, learns of what the core leaves over.
    Core and network pass a gate that opens only as far as they helped on genes left out of everything; what was
    switched on, and what it is expected to gain, is shown after training. The test conditions are never looked at.

    Parameters
    ----------
    adata
        Cells × genes with labels, log-normalised ``X``, a split, and any ``varm["gene_*"]``.
    preset
        ``"default"``, or ``"fast"`` for the core alone, in seconds.
    context
        Column of ``obs`` (cell line, batch, hours) whose levels have control cells of their own. With several contexts,
        doses or kinds of perturbation the core is one response surface over all of them.
    covariates
        Columns of ``obs`` that are averaged per condition and told to the condition token, such as
        ``"total_counts"``, ``"n_genes_by_counts"`` or ``"batch"``. Predictions use the average control cell.
    net
        The network: a :class:`~scperturbmamba.engine.config.NetConfig` or its fields. ``{"core": None}`` is the network
        without a core, ``{"head": "nb"}`` a negative binomial of raw counts instead of a change of the log-normalised
        mean, ``{"mixer": "lstm"}`` another sequence model.
    train
        Training: a :class:`~scperturbmamba.engine.config.TrainConfig` or its fields, such as ``{"epochs": 50}``.
    response
        ``"expression"``, or ``"effect"`` where ``X`` holds effects (log fold changes, calls; NaN where there is a gap)
        with ``layers["weight"]`` if some count more than others; no control is needed then.
    random_state
        Seed; the same seed gives the same numbers on one machine.
    key
        Column of ``obs`` with the split; a table of effects that was never split is all training.
    key_added
        Name of the slot.

    Returns
    -------
    None
        Writes ``uns[key_added]``: ``params``; ``history``, a table of a row per network and validation (``network``,
        ``epoch``, ``step``, ``train_loss``, ``val_loss``, ``train_r2``, ``val_r2``, ``lr``, ``seconds``), where R² is
        against the training mean of each gene; ``report``, with ``words``, the errors of the validation conditions
        beside those of the baselines, and how alike the predictions are; ``checkpoint``, what :func:`predict` needs.

    Raises
    ------
    KeyError
        A slot is missing; the message names the call that makes it.
    ValueError
        A setting is out of range, ``X`` is not log-normalised, or there are no control cells.
    RuntimeError
        The loss became NaN; the message names the batch and the remedy.

    Notes
    -----
    The default head is linear: the core, its gate and its intervals speak of log-normalised means. With the counts head
    they act on the log of the mean count, and the dispersion is the network's.

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
    >>> spm.tl.train_predictor(adata, preset="fast")
    >>> adata.uns["predictor"]["report"]["words"][0][:16]
    'acts as the mean'
    """
    check_in_memory(adata, function="spm.tl.train_predictor")
    check_choice(preset, (_DEFAULT, _FAST), "preset")
    network = resolve(NetConfig, net, "net")
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
    if bundle.cells is not None:
        _warn_of_groups(adata)
    random_state = int(random_state)
    model = Trained.of(
        bundle,
        network,
        training,
        with_network=preset == _DEFAULT,
        random_state=random_state,
        device=settings.device,
        engine=settings.engine,
        callbacks=named_callbacks(training.epochs),
    )
    params: dict[str, Any] = {
        "preset": preset,
        "head": network.head,
        "core": network.core,
        "context": context,
        "response": response,
        "covariates": as_names(covariates),
        "net": network.model_dump_json(),
        "train": training.model_dump_json(),
        "random_state": random_state,
        "split": key,
        "features": sorted(model.frame.encoder.provenance),
    }
    report = training_report(model, bundle)
    adata.uns[key_added] = {
        _keys.PARAMS: check_params(params),
        "history": history_table([one.history for one in model.speaker.networks]),
        "report": report,
        "checkpoint": to_uns(pack(model, params)),
    }
    show_report(report)


def _warn_of_groups(adata: AnnData) -> None:
    """Say that counts are not compared with the control cells of their group, where there are groups."""
    if control_groups(adata) is None:
        return
    warnings.warn(
        "a network of counts compares cells with all control cells of their context, not of their group; "
        'where groups differ, name their column in `covariates=`, or leave `net={"head": "nb"}` out.',
        UserWarning,
        stacklevel=3,
    )
