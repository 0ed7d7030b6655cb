"""Predictions as the Virtual Cell Challenge takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pandas as pd
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_key, check_whole
from scperturbmamba.io._counts import are_counts
from scperturbmamba.io._name_lists import read_names
from scperturbmamba.io._vcc_rules import CONTEXT, TARGET, as_counts, cell_table, chosen_cells, chosen_genes


def write_vcc(
    predicted: AnnData,
    path: str | Path,
    *,
    genes: Sequence[str] | str | Path | None = None,
    perturbations: Sequence[str] | str | Path | None = None,
    n_cells: int = 400,
    context: str | None = None,
) -> None:
    """Write sampled cells as an upload of the Virtual Cell Challenge, and refuse what its rules refuse.

    Parameters
    ----------
    predicted
        Cells of raw counts: a result of ``tl.predict(..., n_cells=400)`` with ``net={"head": "nb"}``. Rows of the
        control are left out.
    path
        The ``.h5ad`` to write; it comes into being under a temporary name and is renamed.
    genes
        The genes to upload, in their order: names, a file with one per line, or a table whose first column names
        them. Others are left out. The default is those of ``predicted``.
    perturbations
        The genes whose perturbation is asked for, likewise. The default is every condition predicted.
    n_cells
        Cells that the rules ask for, of each perturbation in each context.
    context
        What ``obs["context"]`` is to say, where the predictor was trained without ``context=``.

    Returns
    -------
    None
        Writes the file: ``X`` (CSR, whole numbers, no stored zeros), ``obs["target_gene"]``, ``obs["context"]``.

    Raises
    ------
    KeyError
        ``predicted`` has no labels.
    ValueError
        A rule is broken: no raw counts, genes or perturbations that are not there, another number of cells, a
        combination or a drug, a cell of more than 1,000,000 counts, no name for the context.
    FileExistsError
        The file is there already.

    Examples
    --------
    >>> import anndata, tempfile, scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> net = {"core": None, "head": "nb", "width": 8, "head_width": 8, "state": 4}
    >>> spm.tl.train_predictor(adata, net=net, train={"epochs": 2})
    >>> cells = spm.tl.predict(adata, ["JAK2", "STAT3"], n_cells=5)
    >>> path = tempfile.mkdtemp() + "/upload.h5ad"
    >>> spm.io.write_vcc(cells, path, n_cells=5, context="toy")
    >>> anndata.read_h5ad(path).obs["target_gene"].value_counts().to_dict()
    {'JAK2': 5, 'STAT3': 5}
    """
    target = _check_path(Path(path))
    check_key(predicted, "obs", _keys.PERTURBATION, made_by="spm.tl.predict")
    check_whole(n_cells, "n_cells")
    _check_sampled(predicted, n_cells)

    cells = cell_table(predicted, context)
    wanted = list(cells[TARGET].unique()) if perturbations is None else read_names(perturbations, "perturbations")
    rows = chosen_cells(cells, wanted, n_cells)
    columns = chosen_genes(predicted, None if genes is None else read_names(genes, "genes"))
    counts = as_counts(predicted, rows["place"].to_numpy(), columns)

    obs = rows[[TARGET, CONTEXT]].astype("category")
    var = pd.DataFrame(index=pd.Index(predicted.var_names[columns], name=None))
    _write_whole(AnnData(counts, obs=obs, var=var), target)


def _check_path(path: Path) -> Path:
    if path.suffix != ".h5ad":
        msg = f"`path` must end in '.h5ad'; found {path.name!r}. Pass `{path.name}.h5ad`."
        raise ValueError(msg)
    if path.exists():
        msg = f"{path} is there already. Give another `path`, or remove it."
        raise FileExistsError(msg)
    return path


def _check_sampled(predicted: AnnData, n_cells: int) -> None:
    if not are_counts(predicted.X):
        msg = (
            "expected cells of raw counts; found values that are no whole numbers, as in profiles. Draw cells: "
            f"`spm.tl.predict(adata, perturbations, n_cells={n_cells})`, with a predictor trained with "
            '`net={"head": "nb"}`.'
        )
        raise ValueError(msg)


def _write_whole(upload: AnnData, path: Path) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    upload.obs_names_make_unique()
    try:
        upload.write_h5ad(draft, compression="gzip")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
