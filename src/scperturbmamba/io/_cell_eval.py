"""Predictions and truth as cell-eval takes them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scperturbmamba import _keys
from scperturbmamba._checks import check_in_memory, check_key, check_log_normalised, check_unique_genes, check_whole
from scperturbmamba.io._counts import are_counts
from scperturbmamba.io._made_cells import MadeCells, drawn_cells, shifted_cells
from scperturbmamba.io._pairing import Pairing, pair_up


def to_cell_eval(
    predicted: AnnData, adata: AnnData, *, n_cells: int | None = None, key: str | None = None, random_state: int = 0
) -> tuple[AnnData, AnnData]:
    """Make the pair (prediction, truth) that ``cell_eval.MetricsEvaluator`` compares.

    Call ``MetricsEvaluator(prediction, truth, control_pert="control", pert_col="perturbation")``. Both hold the same
    genes, conditions and real control cells. Where ``predicted`` holds one profile per condition, cells are made of
    it: real control cells plus the predicted effect, clipped at 0. A cell at 0 cannot fall, so where an effect is
    negative the others fall further, and the mean of the cells is that of the controls plus the effect.

    All cells made of a profile move alike, so tests of single genes (``overlap_*``, ``precision_*``, ``de_*``) call
    half of all genes changed. Where those scores matter, give cells that ``tl.predict(..., n_cells=)`` drew.

    Parameters
    ----------
    predicted
        A result of ``tl.predict`` or :func:`read_predictions`: profiles, or cells of raw counts, which are scaled to
        the total of control cells and log-transformed.
    adata
        The screen, with labels and log-normalised ``X``.
    n_cells
        Cells per condition. Of a profile that many are made, by default as many as were measured; of sampled cells
        that many are taken where there are more, by default all.
    key
        Column of the split: its test side alone is used, control cells included. The default is that of the training,
        else ``"split"``; without a split all cells are used.
    random_state
        Seed of the choice of cells.

    Returns
    -------
    tuple of two AnnData of cells × genes
        ``X`` (CSR, log-normalised, not negative), ``obs["perturbation"]``, ``obs["context"]``. They hold the conditions
        that are both predicted and measured; a warning names the others.

    Raises
    ------
    KeyError
        A slot or the column is missing.
    ValueError
        No predicted condition was measured, a gene is not in ``adata``, there are no control cells, ``adata.X`` is not
        log-normalised, or a condition has several rows that are no counts.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.pp.split_conditions(adata)
    >>> spm.tl.train_predictor(adata, preset="fast")
    >>> held_out = adata.obs.query("split == 'test' and not is_control")["perturbation"].unique()
    >>> predicted = spm.tl.predict(adata, list(held_out))
    >>> prediction, truth = spm.io.to_cell_eval(predicted, adata)
    >>> prediction.shape == truth.shape
    True
    """
    check_key(predicted, "obs", _keys.PERTURBATION, made_by="spm.tl.predict")
    check_in_memory(adata, function="spm.io.to_cell_eval")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.pp.perturbation_labels")
    check_unique_genes(adata)
    check_log_normalised(adata)
    if n_cells is not None:
        check_whole(n_cells, "n_cells")
    sampled = are_counts(predicted.X)
    if not sampled:
        check_key(predicted, "layers", _keys.DELTA, made_by="spm.tl.predict")

    pairing = pair_up(predicted, adata, key)
    expression = _expression(adata[pairing.cells], list(predicted.var_names))
    rng = np.random.default_rng(random_state)
    make = drawn_cells if sampled else shifted_cells
    made = make(predicted, expression, pairing, n_cells=n_cells, rng=rng)

    truth = AnnData(expression, obs=_obs(pairing, adata.obs_names), var=pd.DataFrame(index=predicted.var_names))
    return _with_controls(made, truth, pairing), truth


def _expression(cells: AnnData, genes: list[str]) -> sp.csr_matrix:
    missing = sorted(set(genes) - set(cells.var_names))
    if missing:
        msg = (
            f"`adata` must hold every predicted gene; {len(missing)} of {len(genes)} are missing, such as "
            f"{missing[:3]}. Bring both to the same gene names, or pass `predicted[:, [...]]`."
        )
        raise ValueError(msg)
    expression = sp.csr_matrix(cells[:, genes].X, dtype=np.float32)
    if expression.nnz and expression.data.min() < 0:
        msg = (
            f"`adata.X` must be log-normalised and not negative; found {expression.data.min():g}, as in scaled data. "
            "Run `spm.pp.normalize(adata)` again."
        )
        raise ValueError(msg)
    return expression


def _obs(pairing: Pairing, names: pd.Index) -> pd.DataFrame:
    rows = pairing.rows.iloc[pairing.group]
    table = {_keys.PERTURBATION: rows["label"].to_numpy(), "context": rows["context"].to_numpy()}
    return pd.DataFrame(table, index=names[pairing.cells]).astype("category")


def _with_controls(made: MadeCells, truth: AnnData, pairing: Pairing) -> AnnData:
    """Return the made cells below the real control cells, their columns of the types that the truth has."""
    is_control = (truth.obs[_keys.PERTURBATION] == _keys.CONTROL).to_numpy()
    rows = pairing.rows.iloc[made.row]
    own = pd.DataFrame({_keys.PERTURBATION: rows["label"], "context": rows["context"]})
    number = own.groupby(own.index, sort=False).cumcount() + 1
    own.index = own.index + " #" + number.astype(str)
    obs = pd.concat([truth.obs[is_control].astype(str), own]).astype(truth.obs.dtypes.to_dict())
    return AnnData(sp.vstack([truth.X[is_control], made.matrix], format="csr"), obs=obs, var=truth.var.copy())
