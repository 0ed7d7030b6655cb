"""Find perturbations that act alike."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list

from scperturbmamba import _keys
from scperturbmamba._checks import check_choice, check_key, check_params, check_whole
from scperturbmamba.data.similarity import METRICS, centre_rows, join, similarity, varied_genes


def similar_perturbations(
    adata: AnnData,
    *,
    metric: str = "pearson",
    layer: str = _keys.DELTA,
    centred: bool = True,
    n_genes: int | None = None,
    key_added: str = _keys.SIMILARITY,
) -> None:
    """Compare the effects of all perturbations with each other, and join those that act alike in a tree.

    Parameters
    ----------
    adata
        Profiles, a row per condition: a result of :func:`predict` or :func:`scperturbmamba.pp.pseudobulk`.
    metric
        ``"pearson"``, ``"spearman"`` or ``"cosine"``, over genes. A gene that is NaN in a row is left out of the
        comparisons of that row; Spearman then ranks each pair anew, which takes minutes for several hundred rows that
        all have gaps of their own.
    layer
        Layer with the effects.
    centred
        Take the mean effect of all treated rows away first: what all perturbations share says nothing of likeness. Of
        two or three rows it leaves little; there, say ``False``.
    n_genes
        Compare over so many genes, those whose effects vary most over the treated rows; the default is all.
    key_added
        Name of the slots.

    Returns
    -------
    None
        Writes ``obsp[key_added]`` (rows × rows, float32, from -1 to 1): the similarity, 1 on the diagonal, NaN in the
        rows and columns of controls and of rows without an effect. ``uns[key_added]``: ``params``, ``linkage``
        (scipy's matrix over the treated rows, average linkage on 1 - similarity), ``order`` (their names in the
        order of the leaves).

    Raises
    ------
    KeyError
        The layer or the labels are not there.
    ValueError
        There are fewer than two treated rows, several rows of one condition, or the metric is unknown.

    References
    ----------
    Dixit et al. (2016), Cell; Replogle et al. (2022), Cell: perturbations grouped by the likeness of their effects.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=10)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> bulk = spm.pp.pseudobulk(adata)
    >>> spm.tl.similar_perturbations(bulk)
    >>> bulk.obsp["similarity"].shape, len(bulk.uns["similarity"]["order"])
    ((10, 10), 9)
    """
    check_choice(metric, METRICS, "metric")
    check_key(adata, "layers", layer, made_by="spm.tl.predict` or `spm.pp.pseudobulk")
    check_key(adata, "obs", _keys.PERTURBATION, made_by="spm.tl.predict` or `spm.pp.pseudobulk")
    _check_one_row_per_condition(adata)
    rows = _treated_rows(adata)

    effects = np.asarray(adata.layers[layer], dtype=np.float64)[rows]
    if centred:
        effects = centre_rows(effects)
    if n_genes is not None:
        check_whole(n_genes, "n_genes")
        effects = effects[:, varied_genes(effects, int(n_genes))]
    alike = similarity(effects, metric=metric)
    tree = join(alike)

    full = np.full((adata.n_obs, adata.n_obs), np.nan, np.float32)
    full[np.ix_(rows, rows)] = alike
    params = {"metric": metric, "layer": layer, "centred": centred, "n_genes": n_genes}
    adata.obsp[key_added] = full
    adata.uns[key_added] = {
        _keys.PARAMS: check_params(params),
        "linkage": tree,
        "order": [str(name) for name in adata.obs_names[rows][leaves_list(tree)]],
    }


def _check_one_row_per_condition(adata: AnnData) -> None:
    again = adata.obs.duplicated()
    if again.any() or not adata.obs_names.is_unique:
        msg = (
            "expected one row per condition; found several rows of "
            f"{str(adata.obs[_keys.PERTURBATION][again | adata.obs_names.duplicated()].iloc[0])!r}. "
            "Call `spm.tl.predict(...)` without `n_cells=`, or `spm.pp.pseudobulk(adata)` first."
        )
        raise ValueError(msg)


def _treated_rows(adata: AnnData) -> NDArray[np.int64]:
    rows = np.flatnonzero(adata.obs[_keys.PERTURBATION].astype(str) != _keys.CONTROL)
    if len(rows) < 2:
        msg = (
            f"expected at least two treated rows to compare; found {len(rows)} beside "
            f"{adata.n_obs - len(rows)} of the control. Predict more conditions: `spm.tl.predict(adata, [...])`."
        )
        raise ValueError(msg)
    return rows
