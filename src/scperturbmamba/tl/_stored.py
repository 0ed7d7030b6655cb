"""Where a trained predictor is kept: in ``uns``, or in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_key
from scperturbmamba._settings import settings
from scperturbmamba.models.checkpoint import Checkpoint, load_folder, save_folder
from scperturbmamba.models.packing import params_of, unpack
from scperturbmamba.models.trained import Trained
from scperturbmamba.tl._report import history_table

_DESCRIPTION, _ARRAYS = "description", "arrays"


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
    >>> spm.tl.train_predictor(adata, preset="fast")
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
        _keys.PARAMS: params_of(checkpoint),
        "history": history_table([one.history for one in model.speaker.networks]),
        "checkpoint": to_uns(checkpoint),
    }


def to_uns(checkpoint: Checkpoint) -> dict[str, Any]:
    return {_DESCRIPTION: checkpoint.description, _ARRAYS: dict(checkpoint.arrays)}


def _from_uns(stored: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(str(stored[_DESCRIPTION]), stored[_ARRAYS])


def find_predictor(adata: AnnData, predictor: AnnData | str | Path | None, key: str) -> tuple[Trained, dict[str, Any]]:
    """Return a predictor and what it was trained with; one from elsewhere need not know every gene by its name."""
    if isinstance(predictor, (str, Path)):
        checkpoint = load_folder(Path(predictor))
        model, params = unpack(checkpoint), params_of(checkpoint)
    else:
        carrier = adata if predictor is None else predictor
        check_key(carrier, "uns", key, made_by="spm.tl.train_predictor")
        model = unpack(_from_uns(carrier.uns[key]["checkpoint"]))
        params = dict(carrier.uns[key][_keys.PARAMS])
    if predictor is None:
        _check_genes(adata, model, f"uns[{key!r}]")
    model.run_on(settings.device, settings.engine)
    return model, params


def _check_genes(adata: AnnData, model: Trained, where: str) -> None:
    genes = model.frame.encoder.genes
    missing = sorted(set(genes) - set(map(str, adata.var_names)))
    if missing:
        msg = (
            f"the predictor in {where} was trained on {len(genes)} genes; {len(missing)} of them are not "
            f"in `adata`, such as {missing[:3]}. Bring `adata` to the same gene names, or train again."
        )
        raise ValueError(msg)
